"""Entries of traj.adv on their way to becoming whole batches."""

from dataclasses import dataclass, field

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.streams import Delivery

__all__ = ["Inbox", "WholeBatch"]


@dataclass(slots=True)
class WholeBatch:
    """A batch as the HAE service handed it on."""

    batch_id: str
    members: int
    """Trajectories handed on."""
    expected: int
    """Trajectories issued."""
    trajectories: dict[str, Trajectory] = field(default_factory=dict)
    """By trajectory id."""
    entries: dict[str, str] = field(default_factory=dict)
    """Trajectory id -> entry id; the marker of an empty batch has the id ''."""

    traceparents: dict[str, str] = field(default_factory=dict)
    """By trajectory id, see `hiper.tracing`."""

    @property
    def whole(self) -> bool:
        """True once everything that was handed on is here."""
        return len(self.trajectories) >= self.members


class Inbox:
    """Batches by id, whole or not. A repeated delivery replaces the earlier one."""

    def __init__(self) -> None:
        self._batches: dict[str, WholeBatch] = {}

    def add(self, delivery: Delivery) -> None:
        """File one entry. Raises `IntegrityError` if it cannot be decoded."""
        trajectory = delivery.trajectory() if delivery.members else None
        batch = self._batches.setdefault(
            delivery.batch_id, WholeBatch(delivery.batch_id, delivery.members, delivery.expected)
        )
        batch.entries[delivery.trajectory_id] = delivery.entry_id
        if trajectory is not None:
            batch.trajectories[delivery.trajectory_id] = trajectory
            batch.traceparents[delivery.trajectory_id] = delivery.traceparent

    def whole(self, batch_id: str) -> WholeBatch | None:
        """Return the batch if all of it has come; it stays until `discard`."""
        batch = self._batches.get(batch_id)
        return batch if batch is not None and batch.whole else None

    def discard(self, batch_id: str) -> None:
        """Forget a batch that was applied."""
        self._batches.pop(batch_id, None)

    def progress(self, batch_id: str) -> str:
        """Say how much of a batch has come, for an error message."""
        batch = self._batches.get(batch_id)
        return f"{len(batch.trajectories)} of {batch.members} entries" if batch else "no entry"
