"""Finished trajectories on disk while the broker does not take them.

One file for each, written atomically and durably, bounded in bytes. The task of a spooled trajectory stays pending, so
a spool that is lost costs work and no trajectory; publishing one twice is harmless.
"""

import hashlib
from pathlib import Path

from google.protobuf.message import DecodeError

from hiper import logs
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.durable import write_bytes
from hiper.metrics import gauge

__all__ = ["Spool"]


class Spool:
    """The spool of one rollout process."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._max_bytes = max_bytes
        self._sizes = {path: path.stat().st_size for path in directory.glob("*.pb")}
        self._log = logs.get()
        self._report()

    def __len__(self) -> int:
        return len(self._sizes)

    def put(self, trajectory: Trajectory) -> bool:
        """Keep a trajectory; once this returns True it survives a crash. False if there is no room for it."""
        path, data = self._path(trajectory.task.trajectory_id), trajectory.SerializeToString()
        if path not in self._sizes and sum(self._sizes.values()) + len(data) > self._max_bytes:
            self._log.warning("the spool is full", trajectory_id=trajectory.task.trajectory_id, limit=self._max_bytes)
            return False
        write_bytes(path, data)
        self._sizes[path] = len(data)
        self._report()
        return True

    def remove(self, trajectory_id: str) -> None:
        """Forget a trajectory, which has been published. Ids that are not held are ignored."""
        path = self._path(trajectory_id)
        if self._sizes.pop(path, None) is not None:
            path.unlink(missing_ok=True)
            self._report()

    def load(self) -> list[Trajectory]:
        """Return what is held. A damaged file is put aside under another name: its task will be played again."""
        found = []
        for path in sorted(self._sizes):
            try:
                found.append(Trajectory.FromString(path.read_bytes()))
            except DecodeError:
                self._log.error("a spooled trajectory is damaged; its task will be played again", file=path.name)
                path.rename(path.with_suffix(".damaged"))
                del self._sizes[path]
        self._report()
        return found

    def _path(self, trajectory_id: str) -> Path:
        return self._directory / f"{hashlib.sha256(trajectory_id.encode()).hexdigest()[:32]}.pb"

    def _report(self) -> None:
        gauge("rollout_spool_bytes").set(sum(self._sizes.values()))
