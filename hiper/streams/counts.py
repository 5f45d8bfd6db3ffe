"""The counters of the conservation law: published = applied + dropped{reason} + dead_lettered + in_flight, per run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Counts"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Counters of a run, moved by the scripts that move the entries, so that they survive every crash."""

    published: int = 0
    """Trajectories that entered the pipeline."""
    applied: int = 0
    """Trajectories in a checkpoint, acknowledged."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By `DropReason` value."""
    dead_lettered: int = 0
    """Trajectories in the dead letters now, members of dead batches included."""
    deduplicated: int = 0
    """Publishes and tasks found done before."""
    fenced: int = 0
    """Hand-offs refused because they had been done, by this or another process."""
    tasks_issued: int = 0
    tasks_done: int = 0
    tasks_dead_lettered: int = 0
    markers: int = 0
    """Entries of traj.adv that stand for a batch without members, not acknowledged."""

    @classmethod
    def parse(cls, fields: Mapping[str, int]) -> "Counts":
        """Read the `counts` hash."""
        plain = {name: number for name, number in fields.items() if name in _PLAIN}
        prefix = "dropped:"
        dropped = {name.removeprefix(prefix): number for name, number in fields.items() if name.startswith(prefix)}
        return cls(dropped=dropped, **plain)

    @property
    def late(self) -> int:
        """Trajectories that came after their batch had been closed."""
        return self.dropped.get("late", 0)

    @property
    def terminal(self) -> int:
        """Trajectories that are not in flight any more."""
        return self.applied + sum(self.dropped.values()) + self.dead_lettered


_PLAIN = frozenset(Counts.__slots__) - {"dropped"}
