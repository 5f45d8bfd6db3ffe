"""Health of a process: alive while its event loop turns, ready while every named check holds.

Liveness never asks the broker or a peer: an outage elsewhere must not restart the fleet. Readiness says, check by
check, why the process cannot serve now. Thread-safe: the HTTP server reads it from its own thread.
"""

import threading
import time
from dataclasses import dataclass

__all__ = ["Check", "Health"]


@dataclass(frozen=True, slots=True)
class Check:
    """State of one readiness check."""

    ok: bool
    detail: str


class Health:
    """Readiness checks by name, and the beat of the main loop."""

    def __init__(self, *required: str, beat_timeout_s: float = 60.0) -> None:
        self._lock = threading.Lock()
        self._checks = {name: Check(False, "starting") for name in required}
        self._beat_timeout_s = beat_timeout_s
        self._last_beat = time.monotonic()

    def set(self, name: str, ok: bool, detail: str = "") -> None:
        """Record the state of check `name`; an unknown name becomes a check."""
        with self._lock:
            self._checks[name] = Check(ok, detail)

    def beat(self) -> None:
        """Say that the event loop turns."""
        self._last_beat = time.monotonic()

    def alive(self) -> bool:
        """True while the event loop beat within the last `beat_timeout_s` seconds."""
        return time.monotonic() - self._last_beat < self._beat_timeout_s

    def checks(self) -> dict[str, Check]:
        """Return a copy of all checks."""
        with self._lock:
            return dict(self._checks)

    def ready(self) -> bool:
        """True if the process is alive and every check holds."""
        return self.alive() and all(check.ok for check in self.checks().values())
