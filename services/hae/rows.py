"""Between trajectories and the estimators' tables: one row per turn, trajectories one after another.

A value, advantage or target that a turn does not have is NaN in a table and absent in a message, never zero.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from hiper._proto.common.v1.types_pb2 import LevelValues
from hiper._proto.critic.v1.critic_service_pb2 import ValueQuery
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory, Turn
from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.columns import BoolArray, IntArray, LevelArrays
from hiper.errors import DataError
from hiper.vocabulary import Level
from services.hae.values import CriticReading

__all__ = ["fill", "turn_batch", "value_queries"]


def value_queries(trajectories: Sequence[Trajectory]) -> list[ValueQuery]:
    """What to ask the critic: every turn, then per truncated trajectory the prompt it would have shown next."""
    queries = [
        ValueQuery(
            prompt_ids=turn.prompt_ids, response_ids=turn.response_ids, value_low_position=turn.value_low_position
        )
        for turn in _turns(trajectories)
    ]
    cut = zip(trajectories, _is_cut(trajectories), strict=True)
    return queries + [ValueQuery(prompt_ids=one.next_prompt_ids) for one, goes_on in cut if goes_on]


def turn_batch(trajectories: Sequence[Trajectory], reading: CriticReading) -> TurnBatch:
    """The table of a batch, with the critic's answers to `value_queries(trajectories)`.

    Every trajectory has at least one turn. Raises `DataError` for a turn without a reward.
    """
    turns = list(_turns(trajectories))
    values, beyond = reading.values[: len(turns)], reading.values[len(turns) :]
    lengths = [len(one.turns) for one in trajectories]
    last = np.cumsum(lengths) - 1
    truncation_value = np.full(len(turns), np.nan)
    truncation_value[last[_is_cut(trajectories)]] = [_before_decision(value) for value in beyond]
    return TurnBatch(
        trajectory=np.repeat(np.arange(len(trajectories)), lengths),
        turn=np.array([turn.index for turn in turns]),
        switch=np.array([turn.is_switch for turn in turns]),
        reward=np.array([_reward(one, turn) for one in trajectories for turn in one.turns]),
        terminated=_at(last, [one.outcome.terminated for one in trajectories]),
        truncated=_at(last, [one.outcome.truncated for one in trajectories]),
        v_low=np.array([_number(value, Level.LOW) for value in values]),
        v_high=np.array([_number(value, Level.HIGH) for value in values]),
        v_switch=np.array([_number(value, Level.SWITCH) for value in values]),
        # Separators and end-of-sequence carry the low level too, so any response has such a token (method.md, 17.3).
        has_action_tokens=np.array([bool(turn.response_ids) for turn in turns]),
        has_subgoal_tokens=np.array([turn.subgoal_span.end > turn.subgoal_span.start for turn in turns]),
        has_switch_tokens=np.array([turn.switch_span.end > turn.switch_span.start for turn in turns]),
        truncation_value=truncation_value,
        group=np.repeat([one.task.group for one in trajectories], lengths),
        anchor=np.array([_anchor(turn.observation) for turn in turns]),
    )


def fill(trajectories: Sequence[Trajectory], reading: CriticReading, batch: TurnBatch, result: TurnAdvantages) -> None:
    """Write values, advantages, targets and segment starts into the trajectories."""
    for row, turn in enumerate(_turns(trajectories)):
        turn.values.CopyFrom(reading.values[row])
        turn.advantages.CopyFrom(_levels(result.advantages, row))
        turn.returns.CopyFrom(_levels(result.returns, row))
        turn.is_boundary = bool(result.boundary[row])
    row = 0
    for trajectory in trajectories:
        row += len(trajectory.turns)
        trajectory.critic_version = reading.version
        beyond = math.nan if batch.truncation_value is None else float(batch.truncation_value[row - 1])
        if not math.isnan(beyond):
            trajectory.truncation_value = beyond


def _turns(trajectories: Iterable[Trajectory]) -> Iterator[Turn]:
    return (turn for trajectory in trajectories for turn in trajectory.turns)


def _is_cut(trajectories: Sequence[Trajectory]) -> BoolArray:
    """Which trajectories go on beyond their last turn, with a known next prompt."""
    return np.array([one.outcome.truncated and bool(one.next_prompt_ids) for one in trajectories])


def _at(last: IntArray, flags: Sequence[bool]) -> BoolArray:
    """One flag per trajectory, set on its last turn."""
    column = np.zeros(last[-1] + 1, dtype=np.bool_)
    column[last] = flags
    return column


def _before_decision(value: LevelValues) -> float:
    """Value before the next switch decision: V_switch, or V_high of a critic without a switch head (method.md, 9)."""
    return value.switch if value.HasField("switch") else _number(value, Level.HIGH)


def _reward(trajectory: Trajectory, turn: Turn) -> float:
    if not turn.HasField("reward"):
        raise DataError(
            f"trajectory {trajectory.task.trajectory_id}: turn {turn.index} has no reward",
            "the reward service must have passed it on unscored: check that all services run the same version",
        )
    return turn.reward


def _anchor(observation: str) -> int:
    """Number an observation: 63 bits of its hash, the same in every process; -1 for one that was not kept."""
    if not observation:
        return -1
    digest = hashlib.blake2b(observation.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _number(value: LevelValues, level: Level) -> float:
    number: float = getattr(value, level) if value.HasField(level.value) else math.nan
    return number


def _levels(columns: LevelArrays, row: int) -> LevelValues:
    present = {level.value: float(column[row]) for level, column in columns.items() if not np.isnan(column[row])}
    return LevelValues(**present)
