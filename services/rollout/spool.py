"""Finished trajectories on disk while the broker cannot take them.

Bounded and durable: one file per trajectory, written atomically. Replaying goes through the same idempotent publish, so a
trajectory that had been published after all changes nothing.
"""

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from google.protobuf.message import DecodeError

from hiper import logs
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.durable import write_bytes
from hiper.metrics import gauge

__all__ = ["Spool"]


class Spool:
    """The spool of one rollout process, below its run directory."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._max_bytes = max_bytes
        self._log = logs.get()
        self._observe()

    @property
    def size(self) -> int:
        """Bytes held."""
        return sum(path.stat().st_size for path in self._files())

    @property
    def full(self) -> bool:
        """True if no task should be taken until something was replayed."""
        return self.size >= self._max_bytes

    def __len__(self) -> int:
        return len(self._files())

    def put(self, trajectory: Trajectory) -> None:
        """Keep one trajectory; when this returns it survives a crash."""
        name = hashlib.sha256(trajectory.task.trajectory_id.encode()).hexdigest()[:32]
        write_bytes(self._directory / f"{name}.pb", trajectory.SerializeToString())
        self._observe()

    async def replay(self, publish: Callable[[Trajectory], Awaitable[bool]]) -> int:
        """Publish what is held, oldest first, and remove each file once it is; return their number."""
        replayed = 0
        for path in self._files():
            try:
                trajectory = Trajectory.FromString(path.read_bytes())
            except DecodeError:
                self._log.error("spooled trajectory is damaged; its task will be played again", file=path.name)
                path.rename(path.with_suffix(".damaged"))
                continue
            await publish(trajectory)
            path.unlink()
            replayed += 1
            self._observe()
        return replayed

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.pb"), key=lambda path: path.stat().st_mtime_ns)

    def _observe(self) -> None:
        gauge("rollout_spool_bytes").set(self.size)
