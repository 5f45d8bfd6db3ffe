"""From trajectories to training rows: one turn, one row (method.md, section 8, default mode).

The learner does not know which estimator made the advantages. It sees, per turn, an advantage and a target per level
and the token spans of the three blocks. A level that is absent owns no token of the turn.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiper._proto.common.v1.types_pb2 import LevelValues, TokenSpan
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory, Turn
from hiper.errors import IntegrityError
from services.learner.model import TokenRow

__all__ = ["TrainRow", "rows_of", "token_advantages", "token_row"]

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


def rows_of(trajectories: Iterable[Trajectory], vocabulary: int) -> list[TrainRow]:
    """Return the rows of all turns with a response.

    Raises `IntegrityError` for a turn that contradicts itself or has a token id outside [0, `vocabulary`).
    """
    return [
        _row(turn, trajectory.task.trajectory_id, vocabulary)
        for trajectory in trajectories
        for turn in trajectory.turns
        if turn.response_ids
    ]


def token_advantages(turn: Turn, length: int) -> tuple[FloatVector, NDArray[np.bool_]]:
    """Spread a turn's advantages over its `length` response tokens; return them and the loss mask.

    The switch block carries A_switch, the sub-goal block A_high where the turn opens a segment and nothing where it
    was copied; every other sampled token - the action block, end-of-sequence, separators, stray text - carries A_low.
    Tokens that straddle two blocks carry the sum. Without an action block every token is one of the low level.
    Raises `IntegrityError` for an advantage that is not finite.
    """
    action = _cover(turn.action_span if turn.HasField("action_span") else None, length)
    subgoal = _cover(turn.subgoal_span if turn.HasField("subgoal_span") else None, length)
    switch = _cover(turn.switch_span if turn.HasField("switch_span") else None, length)
    low = action | ~(action | subgoal | switch) if turn.HasField("action_span") else np.ones(length, dtype=bool)
    advantages, mask = np.zeros(length, dtype=np.float32), np.zeros(length, dtype=bool)
    for covered, advantage in zip((low, subgoal, switch), _levels(turn.advantages), strict=True):
        if np.isfinite(advantage):
            advantages += np.where(covered, advantage, np.float32(0))
            mask |= covered
    return advantages, mask


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


def _row(turn: Turn, trajectory_id: str, vocabulary: int) -> TrainRow:
    try:
        tokens = token_row(turn.prompt_ids, turn.response_ids, turn.value_low_position, vocabulary)
        if len(turn.response_logprobs) != len(turn.response_ids):
            raise IntegrityError(
                f"{len(turn.response_logprobs) // 4} log-probabilities for {len(tokens.response)} tokens"
            )
        advantages, mask = token_advantages(turn, len(tokens.response))
        targets, old_values = _levels(turn.returns), _levels(turn.values)
    except IntegrityError as error:
        raise IntegrityError(f"{trajectory_id}, turn {turn.index}: {error.message}") from error
    logprobs = np.frombuffer(turn.response_logprobs, dtype="<f4")
    return TrainRow(tokens, logprobs, advantages, mask, targets, old_values, turn.policy_version_start)


def _cover(span: TokenSpan | None, length: int) -> NDArray[np.bool_]:
    covered = np.zeros(length, dtype=bool)
    if span is not None:
        covered[span.start : span.end] = True
    return covered


def _levels(values: LevelValues) -> FloatVector:
    """[3] low, high, switch; NaN = absent. Raises `IntegrityError` for a number that is there and not finite."""
    present = [values.HasField("low"), values.HasField("high"), values.HasField("switch")]
    numbers = np.array([values.low, values.high, values.switch], dtype=np.float32)
    if not np.isfinite(numbers[present]).all():
        raise IntegrityError(f"an advantage, value or target is not finite: {numbers.tolist()}")
    return np.where(present, numbers, np.float32(np.nan))
