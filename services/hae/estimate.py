"""Advantages of a batch of trajectories whose values are known: what the stream and `ComputeAdvantages` both run."""

from collections.abc import Sequence

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.advantages.batch import TurnAdvantages, TurnBatch, TurnError
from services.hae.estimators import Estimator
from services.hae.rows import fill, turn_batch
from services.hae.values import CriticReading

__all__ = ["estimate"]


def estimate(
    trajectories: Sequence[Trajectory], reading: CriticReading, estimator: Estimator
) -> tuple[TurnBatch, TurnAdvantages]:
    """Write values, advantages and targets into `trajectories`, and return the tables they came from.

    Every trajectory has at least one turn. Raises `DataError` that names trajectory and turn for a number that is
    infinite, or missing where the estimator needs it; nothing has been written then.
    """
    try:
        batch = turn_batch(trajectories, reading)
        result = estimator(batch)
    except TurnError as error:
        turns = [(one.task.trajectory_id, turn.index) for one in trajectories for turn in one.turns]
        raise error.of(*turns[error.row]) from error
    fill(trajectories, reading, batch, result)
    return batch, result
