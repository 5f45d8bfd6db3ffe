"""What a batch says about the health of learning: is the critic any good, does the hierarchy live (method.md, 15, 17).

Pure functions of a batch. A figure that a batch does not determine (no KEEP turn, constant targets) is None, not zero.
A *decision* is the switch block of a turn after the first: turn 0 opens a segment whatever it says.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory, Turn
from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.columns import FloatArray
from hiper.metrics import gauge
from hiper.vocabulary import Level, StopReason

__all__ = ["BatchHealth", "explained_variance", "export", "measure"]

_SAME_RETURN = 1e-9
_ROUNDING = 1e-9
"""Relative to the largest value or target."""


@dataclass(frozen=True, slots=True)
class BatchHealth:
    """Figures of one batch. Shares are in [0, 1]."""

    segment_turns: float
    """Mean length of a segment."""
    switches_per_episode: float
    """Mean number of decisions for SWITCH."""
    switch_rate: float | None
    """Share of decisions for SWITCH."""
    keep_consistency: float | None
    """Share of decisions for KEEP, with a sub-goal to keep, whose turn repeats it."""
    valid_rate: float
    """Share of turns with a well-formed response."""
    clipped_rate: float
    """Share of responses that reached their limit."""
    zero_variance_groups: float | None
    """Share of the groups of two and more samples whose returns are all the same."""
    explained_variance: Mapping[Level, float]
    """Of each head whose targets vary, over the turns it is trained on."""


def measure(trajectories: Sequence[Trajectory], batch: TurnBatch, result: TurnAdvantages) -> BatchHealth:
    """Measure a batch of trajectories, each with at least one turn; `batch` and `result` are its tables."""
    turns = [turn for trajectory in trajectories for turn in trajectory.turns]
    decisions = [(before, turn) for before, turn in _steps(trajectories) if turn.HasField("switch_span")]
    switches = sum(turn.is_switch for _, turn in decisions)
    values = {Level.LOW: batch.v_low, Level.HIGH: batch.v_high, Level.SWITCH: batch.v_switch}
    explained = {level: explained_variance(values[level], result.returns[level]) for level in Level}
    return BatchHealth(
        segment_turns=len(batch) / int(result.boundary.sum()),
        switches_per_episode=switches / len(trajectories),
        switch_rate=_share([turn.is_switch for _, turn in decisions]),
        keep_consistency=_share(
            [turn.subgoal_consistent for before, turn in decisions if not turn.is_switch and before.subgoal]
        ),
        valid_rate=sum(turn.valid for turn in turns) / len(turns),
        clipped_rate=sum(turn.stop_reason == StopReason.LENGTH for turn in turns) / len(turns),
        zero_variance_groups=_zero_variance_groups(trajectories),
        explained_variance={level: share for level, share in explained.items() if share is not None},
    )


def export(health: BatchHealth, result: TurnAdvantages) -> None:
    """Set the gauges to this batch; what it does not determine stays as it was."""
    figures = {
        "hae_segment_turns": health.segment_turns,
        "hae_switches_per_episode": health.switches_per_episode,
        "hae_switch_rate": health.switch_rate,
        "hae_keep_consistency": health.keep_consistency,
        "hae_valid_rate": health.valid_rate,
        "hae_clipped_rate": health.clipped_rate,
        "hae_zero_variance_groups": health.zero_variance_groups,
    }
    for name, figure in figures.items():
        if figure is not None:
            gauge(name).set(figure)
    for level, explained in health.explained_variance.items():
        gauge("hae_explained_variance").labels(level=level.value).set(explained)
    for level in Level:
        raw = result.raw[level][np.isfinite(result.raw[level])]
        if len(raw):
            gauge("hae_advantage").labels(level=level.value, stat="mean").set(raw.mean())
            gauge("hae_advantage").labels(level=level.value, stat="std").set(raw.std())


def explained_variance(values: FloatArray, targets: FloatArray) -> float | None:
    """1 - Var(target - value) / Var(target) over the turns whose head is trained; None if the targets are constant."""
    trained = np.isfinite(targets) & np.isfinite(values)
    if not trained.any():
        return None
    target = targets[trained]
    # Targets are sums in which values cancel, so equal ones differ by rounding: a share of that would be astronomic.
    if np.ptp(target) <= _ROUNDING * max(1.0, np.abs(values[trained]).max(), np.abs(target).max()):
        return None
    return float(1 - (target - values[trained]).var() / target.var())


def _steps(trajectories: Sequence[Trajectory]) -> Iterator[tuple[Turn, Turn]]:
    """Every turn after the first, with the one before it."""
    for trajectory in trajectories:
        yield from pairwise(trajectory.turns)


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _zero_variance_groups(trajectories: Sequence[Trajectory]) -> float | None:
    groups: dict[int, list[float]] = defaultdict(list)
    for trajectory in trajectories:
        groups[trajectory.task.group].append(sum(turn.reward for turn in trajectory.turns))
    return _share([max(one) - min(one) < _SAME_RETURN for one in groups.values() if len(one) > 1])
