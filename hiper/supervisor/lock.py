"""One supervisor per run directory.

The lock is the kernel's (`flock`): it goes with the process that holds it, however that ends, so there is no stale
lock to remove by hand. The file's content only serves the message.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from hiper.errors import RunStateError

__all__ = ["LOCK_NAME", "RunLock", "holder"]

LOCK_NAME = "run.lock"


class RunLock:
    """Holds `<run_dir>/run.lock`; a context manager. Raises `RunStateError` naming the holder if it is taken."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / LOCK_NAME
        self._descriptor = -1

    def __enter__(self) -> "RunLock":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _read_pid(self._path)
            os.close(descriptor)
            raise RunStateError(
                f"{self._path.parent} is in use by process {pid or 'unknown'}",
                "watch it with `hiper status`, stop it, or give another --run-dir",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


def holder(run_dir: Path) -> int | None:
    """Return the pid of the supervisor that holds the run directory now, or None."""
    path = run_dir / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_pid(path)
    finally:
        os.close(descriptor)
    return None


def _read_pid(path: Path) -> int | None:
    text = path.read_text().strip()
    return int(text) if text.isdigit() else None
