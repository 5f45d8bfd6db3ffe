"""What the rollout asks of an inference engine. Token in, token out.

Invariants of every engine:
- A response is never made by weights that are partly one version and partly another.
- No running request is lost to an update of the weights; its `Generation` says which versions began and ended it.
- Log-probabilities are those of the distribution the tokens were sampled from.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hiper.errors import DependencyError, HiperError
from hiper.vocabulary import PolicyVersion, StopReason

__all__ = [
    "NOT_LOADED",
    "Engine",
    "EngineDead",
    "Generation",
    "Generator",
    "RequestRefused",
    "Sampling",
    "labelled_version",
]

NOT_LOADED = PolicyVersion(-1)
"""Version of the weights an engine was started on."""


class EngineDead(DependencyError):  # noqa: N818 - named for the state it reports
    """The engine does not work any more: the process must end and be started again."""


class RequestRefused(HiperError):  # noqa: N818 - named for the state it reports
    """The engine will not answer this one request; others are unaffected."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one response is sampled. The same prompt, weights and seed give the same response."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One sampled response."""

    token_ids: tuple[int, ...]
    """Sampled ids, end-of-sequence included if it was sampled."""
    logprobs: tuple[float, ...]
    """Of each sampled id under the distribution it was sampled from, in nats."""
    stop_reason: StopReason
    version_start: PolicyVersion
    version_end: PolicyVersion
    """The two differ only if weights were swapped while this was being generated."""
    cached_tokens: int = 0
    """Tokens of the prompt that were in the prefix cache; 0 where the engine does not say."""


def labelled_version(label: str) -> PolicyVersion:
    """The version behind vLLM's label; `default` is what it was started with."""
    return PolicyVersion(int(label)) if label.isdecimal() else NOT_LOADED


class Generator(Protocol):
    """What plays an episode: prompts in, responses out. Safe for concurrent requests of one event loop."""

    async def generate(self, prompt_ids: list[int], sampling: Sampling, request_id: str) -> Generation:
        """Sample one response. Raises `RequestRefused` or `EngineDead`."""
        ...


class Engine(Generator, Protocol):
    """An inference engine with swappable weights."""

    async def start(self) -> None:
        """Become able to generate; called once, before anything else. Raises `EngineDead`."""
        ...

    @property
    def version(self) -> PolicyVersion:
        """Version of the weights in the engine; -1 before the first load."""
        ...

    async def load_weights(self, directory: Path, version: PolicyVersion) -> None:
        """Swap in a verified version. Running requests wait and go on with the new weights.

        Raises `IntegrityError` if the files do not fit the model (nothing changed), `RequestRefused` if the swap failed
        half-way (nothing is generated until one succeeds) and `EngineDead`.
        """
        ...

    async def check(self) -> None:
        """Raise `EngineDead` if the engine does not work any more."""
        ...

    async def close(self) -> None:
        """End the engine and its processes."""
        ...
