"""From trajectories to training rows: one turn, one row (method.md, section 8, default mode).

The learner does not know which estimator made the advantages. It sees, per turn, an advantage and a target per level
and the token spans of the three blocks. A level that is absent owns no token of the turn.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hiper._proto.common.v1.types_pb2 import LevelValues
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory, Turn
from hiper.advantages.tokens import TokenTargets, TurnSpans, level_tokens, token_targets
from hiper.errors import IntegrityError
from hiper.vocabulary import Level, TokenSpan
from services.learner.packing import TokenRow

__all__ = ["TrainRow", "rows_of", "token_row"]

FloatVector = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TrainRow:
    """One turn, ready to train on. R response tokens."""

    tokens: TokenRow
    behaviour_logprobs: FloatVector
    """[R] as sampled."""
    advantages: FloatVector
    """[R] per token, 0 outside the mask."""
    mask: NDArray[np.bool_]
    """[R] tokens inside the loss."""
    targets: FloatVector
    """[3] per head, NaN = the head is not trained here."""
    old_values: FloatVector
    """[3] per head as used for the advantages, NaN = unknown."""
    policy_version: int
    """Oldest version that generated a token of the turn."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A turn that does not contradict itself."""

    turn: Turn
    tokens: TokenRow
    advantages: FloatVector
    """[3] per level, NaN = it owns no token."""
    targets: FloatVector
    old_values: FloatVector
    switch: TokenSpan | None
    subgoal: TokenSpan | None
    action: TokenSpan | None

    @classmethod
    def of(cls, turn: Turn, vocabulary: int) -> "_Read":
        tokens = token_row(turn.prompt_ids, turn.response_ids, turn.value_low_position, vocabulary)
        if len(turn.response_logprobs) != len(turn.response_ids):
            raise IntegrityError(
                f"{len(turn.response_logprobs) // 4} log-probabilities for {len(tokens.response)} tokens"
            )
        return cls(
            turn=turn,
            tokens=tokens,
            advantages=_levels(turn.advantages),
            targets=_levels(turn.returns),
            old_values=_levels(turn.values),
            switch=_span(turn, "switch_span"),
            subgoal=_span(turn, "subgoal_span"),
            action=_span(turn, "action_span"),
        )


def rows_of(trajectories: Iterable[Trajectory], vocabulary: int) -> list[TrainRow]:
    """Return the rows of all turns with a response.

    Raises `IntegrityError` for a turn that contradicts itself or has a token id outside [0, `vocabulary`).
    """
    return [row for trajectory in trajectories for row in _rows(trajectory, vocabulary)]


def token_row(prompt_ids: bytes, response_ids: bytes, value_low_position: int, vocabulary: int) -> TokenRow:
    """Read the tokens of a turn, or of a bare prompt if `response_ids` is empty.

    Raises `IntegrityError` for an empty prompt, broken or unknown ids, or a value position outside the response.
    """
    if not prompt_ids or len(prompt_ids) % 4 or len(response_ids) % 4:
        raise IntegrityError(f"{len(prompt_ids)} and {len(response_ids)} bytes are no prompt and response of int32")
    prompt, response = np.frombuffer(prompt_ids, dtype="<i4"), np.frombuffer(response_ids, dtype="<i4")
    lowest = min(prompt.min(), response.min(initial=0))
    highest = max(prompt.max(), response.max(initial=0))
    if lowest < 0 or highest >= vocabulary:
        raise IntegrityError(f"token ids {lowest} to {highest} in a vocabulary of {vocabulary}")
    position = value_low_position if len(response) else 0
    if position >= max(1, len(response)):
        raise IntegrityError(f"value position {position} in {len(response)} response tokens")
    return TokenRow(prompt, response, position)


def _rows(trajectory: Trajectory, vocabulary: int) -> list[TrainRow]:
    turns = []
    for turn in trajectory.turns:
        if not turn.response_ids:
            continue
        try:
            turns.append(_Read.of(turn, vocabulary))
        except IntegrityError as error:
            raise IntegrityError(f"{trajectory.task.trajectory_id}, turn {turn.index}: {error.message}") from error
    trained = _token_targets(turns)
    return [
        TrainRow(
            tokens=one.tokens,
            behaviour_logprobs=np.frombuffer(one.turn.response_logprobs, dtype="<f4"),
            advantages=advantages[: len(one.tokens.response)],
            mask=mask[: len(one.tokens.response)],
            targets=one.targets,
            old_values=one.old_values,
            policy_version=one.turn.policy_version_start,
        )
        for one, advantages, mask in zip(turns, trained.advantages, trained.mask, strict=True)
    ]


def _token_targets(turns: Sequence[_Read]) -> TokenTargets:
    """Spread the advantages of turns over their tokens by `TokenRule.ALL`.

    A turn that opens no segment has no A_high, so the sub-goal it copied is outside the loss.
    """
    spans = TurnSpans.collect(
        [len(turn.tokens.response) for turn in turns],
        switch=[turn.switch for turn in turns],
        subgoal=[turn.subgoal for turn in turns],
        action=[turn.action for turn in turns],
    )
    levels = np.array([turn.advantages for turn in turns], dtype=np.float64).reshape(-1, len(Level)).T
    every = np.ones(len(turns), dtype=np.bool_)
    return token_targets(level_tokens(spans), dict(zip(Level, levels, strict=True)), boundary=every)


def _span(turn: Turn, block: Literal["switch_span", "subgoal_span", "action_span"]) -> TokenSpan | None:
    """A block's span, None if it is missing. Raises `IntegrityError` for one that is no range."""
    if not turn.HasField(block):
        return None
    span = getattr(turn, block)
    try:
        return TokenSpan(span.start, span.end)
    except ValueError as error:
        raise IntegrityError(f"{block}: {error}") from error


def _levels(values: LevelValues) -> FloatVector:
    """[3] low, high, switch; NaN = absent. Raises `IntegrityError` for a number that is there and not finite."""
    present = [values.HasField("low"), values.HasField("high"), values.HasField("switch")]
    numbers = np.array([values.low, values.high, values.switch], dtype=np.float32)
    if not np.isfinite(numbers[present]).all():
        raise IntegrityError(f"an advantage, value or target is not finite: {numbers.tolist()}")
    return np.where(present, numbers, np.float32(np.nan))
