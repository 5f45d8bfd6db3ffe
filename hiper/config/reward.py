"""Settings of the reward: the terms that are built in, and those of your own."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, JsonValue, field_validator, model_validator

from hiper.config.base import Positive, Seconds, Section
from hiper.vocabulary import ShapingTerm

__all__ = ["JudgeSettings", "RewardSettings", "TermSettings"]


class JudgeSettings(Section):
    """A judge behind HTTP: one POST per trajectory (docs/rewards.md has the two messages)."""

    url: Annotated[str, Field(pattern=r"^https?://[^/@\s]+(/\S*)?$")]
    """Where it listens; no credentials in it."""
    token_env: str | None = None
    """Name of the environment variable that holds its bearer token."""
    token_file: Path | None = None
    """File that holds its bearer token; read again when it changes."""
    attempt_timeout_s: Seconds = 10.0
    """Bound of one attempt; below the term's `timeout_s`, or there is time for none but the first."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Attempts after the first, when it does not answer or answers 429 or 5xx."""
    concurrency: Positive = 8
    """Requests at once."""

    @model_validator(mode="after")
    def _one_token(self) -> "JudgeSettings":
        if self.token_env is not None and self.token_file is not None:
            raise ValueError("give token_env or token_file, not both")
        return self


class TermSettings(Section):
    """A reward term that is not built in: exactly one of `path`, `entry_point` and `judge`."""

    path: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")] | None = None
    """`package.module:function`, importable by the reward service."""
    entry_point: str | None = None
    """Name of an entry point of the group `hiper.reward_terms`, as an installed package offers it."""
    judge: JudgeSettings | None = None
    """A judge over HTTP."""
    weight: FiniteFloat = 1.0
    """Factor of what the term returns."""
    timeout_s: Seconds = 30.0
    """Deadline of the term for one trajectory, retries included."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Keyword arguments of the function; for a judge, part of its request."""

    @model_validator(mode="after")
    def _one_source(self) -> "TermSettings":
        if sum(source is not None for source in (self.path, self.entry_point, self.judge)) != 1:
            raise ValueError("give exactly one of path, entry_point and judge")
        return self


TermName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]


class RewardSettings(Section):
    """Terms of the per-turn reward (method.md, section 7). Scale the penalties with `success`."""

    success: FiniteFloat = 10.0
    """Reward of the winning turn."""
    invalid_output: Annotated[FiniteFloat, Field(ge=0)] = 0.1
    """Taken off a turn whose output is malformed."""
    inadmissible_action: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """Taken off a turn whose action was not admissible. Not in the paper; tiny models need it."""
    keep_penalty: Annotated[FiniteFloat, Field(le=0)] = -0.3
    """Added on KEEP turns, <= 0."""
    keep_penalty_mode: Literal["fixed", "normalized"] = "normalized"
    """`fixed`: every KEEP turn; `normalized`: divided by the number of turns, trajectories of one turn exempt."""
    consistency: Annotated[FiniteFloat, Field(le=0)] = -0.3
    """Added on a KEEP turn that writes another sub-goal than the one in force, <= 0."""
    terms: dict[TermName, TermSettings] = Field(default_factory=dict)
    """Terms of your own, by name."""
    term_threads: Positive = 8
    """Terms that are not async and run at once."""

    @field_validator("terms")
    @classmethod
    def _names_are_free(cls, terms: dict[str, TermSettings]) -> dict[str, TermSettings]:
        taken = set(terms) & set(ShapingTerm)
        if taken:
            raise ValueError(f"'{min(taken)}' is the name of a built-in term; choose another one")
        return terms
