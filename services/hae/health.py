"""What a batch says about the health of learning: is the critic any good, does the hierarchy live (method.md, 15, 17).

A figure that a batch does not determine (no KEEP turn, constant targets) is absent, not zero.
"""

from collections.abc import Sequence

import numpy as np

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.columns import FloatArray
from hiper.metrics import gauge
from hiper.vocabulary import Level

__all__ = ["explained_variance", "export", "shares"]


def export(trajectories: Sequence[Trajectory], batch: TurnBatch, result: TurnAdvantages) -> None:
    """Set the gauges to this batch."""
    for name, value in shares(trajectories).items():
        gauge(name).set(value)
    gauge("hae_segment_turns").set(len(batch) / max(1, int(result.boundary.sum())))
    values = {Level.LOW: batch.v_low, Level.HIGH: batch.v_high, Level.SWITCH: batch.v_switch}
    for level in Level:
        explained = explained_variance(values[level], result.returns[level])
        if explained is not None:
            gauge("hae_explained_variance").labels(level=level.value).set(explained)
        raw = result.raw[level][np.isfinite(result.raw[level])]
        if len(raw):
            gauge("hae_advantage").labels(level=level.value, stat="mean").set(raw.mean())
            gauge("hae_advantage").labels(level=level.value, stat="std").set(raw.std())


def explained_variance(values: FloatArray, targets: FloatArray) -> float | None:
    """1 - Var(target - value) / Var(target) over the turns whose head is trained; None if the targets are constant."""
    trained = np.isfinite(targets) & np.isfinite(values)
    if not trained.any() or targets[trained].var() == 0:
        return None
    return float(1 - (targets[trained] - values[trained]).var() / targets[trained].var())


def shares(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Shares of turns, by name of the gauge."""
    turns = [turn for trajectory in trajectories for turn in trajectory.turns]
    kept = [turn.subgoal_consistent for turn in turns if not turn.is_switch]
    found = {
        "hae_switch_rate": [turn.is_switch for turn in turns],
        "hae_valid_rate": [turn.valid for turn in turns],
        "hae_keep_consistency": kept,
    }
    return {name: sum(flags) / len(flags) for name, flags in found.items() if flags}
