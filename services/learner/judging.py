"""What counts of a batch: trajectories that are neither stale nor contradictory, and the rows they become."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hiper import logs
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.errors import IntegrityError
from hiper.metrics import histogram
from hiper.streams import Verdict
from hiper.vocabulary import DropReason
from services.learner.rows import TrainRow, rows_of

__all__ = ["Bounds", "Judged", "judge"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a trajectory must keep to."""

    version: int
    """Policy version that learns from it."""
    max_staleness: int
    """Versions its oldest turn may be behind that."""
    vocabulary: int
    """Token ids are below this."""


@dataclass(slots=True)
class Judged:
    """What counts of a batch."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """By trajectory id."""
    rows: list[TrainRow] = field(default_factory=list)
    staleness: list[int] = field(default_factory=list)
    """Of every trajectory that counts: versions its oldest turn is behind."""


def judge(trajectories: Mapping[str, Trajectory], bounds: Bounds) -> Judged:
    """Decide about every trajectory, by id, in the order of the ids."""
    judged = Judged()
    for name, trajectory in sorted(trajectories.items()):
        staleness = _staleness(trajectory, bounds.version)
        if staleness > bounds.max_staleness:
            judged.verdicts[name] = DropReason.STALE
            continue
        try:
            judged.rows += rows_of([trajectory], bounds.vocabulary)
            judged.verdicts[name] = "applied"
            judged.staleness.append(staleness)
        except IntegrityError as error:
            logs.get().error("trajectory dropped", trajectory_id=name, error=str(error))
            judged.verdicts[name] = DropReason.INVALID
    return judged


def _staleness(trajectory: Trajectory, version: int) -> int:
    oldest = min((turn.policy_version_start for turn in trajectory.turns), default=version)
    histogram("learner_staleness_versions").observe(version - oldest)
    return version - oldest
