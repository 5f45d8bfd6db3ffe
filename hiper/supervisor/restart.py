"""What to do when a process ends. Pure: time and chance come from outside.

A service is restarted whatever killed it, with growing delays. It is given up, and the run with it, when restarting
cannot help: the command line or the configuration was wrong, it keeps dying, or it keeps failing before it was ready.
"""

import random
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from hiper.errors import ExitCode
from hiper.supervisor.table import Ending

__all__ = ["Death", "RestartLimits", "Restarts", "Verdict"]


class Verdict(StrEnum):
    """What a death means for the run."""

    RESTART = "restart"
    STEP_DONE = "step done"
    RUN_DONE = "run done"
    USAGE = "wrong settings"
    CRASH_LOOP = "crash loop"
    STEP_FAILED = "step failed"


@dataclass(frozen=True, slots=True)
class Death:
    """How one process ended."""

    code: int
    """Exit code; negative = killed by that signal."""
    ready_s: float | None
    """Seconds it had been ready in this life; None if it never was."""
    marked_finished: bool
    """The run's mark of completion is there."""


@dataclass(frozen=True, slots=True)
class RestartLimits:
    """When to give up, and how fast to try again."""

    max_restarts: int
    window_s: float
    max_failed_starts: int = 3
    """Ends in a row, of its own accord and before it was ready: trying again will not mend a missing package."""
    first_delay_s: float = 0.5
    longest_delay_s: float = 15.0
    settled_s: float = 2.0
    """A process that was ready for this long had started well: it is restarted with the first delay again."""


class Restarts:
    """Restart history of one process."""

    def __init__(self, ending: Ending, limits: RestartLimits, generator: random.Random) -> None:
        self._ending = ending
        self._limits = limits
        self._generator = generator
        self._times: deque[float] = deque()
        self._failed_starts = 0
        self._quick_deaths = 0
        self.total = 0

    def judge(self, death: Death, now: float) -> Verdict:
        """Take note of a death at monotonic time `now` and say what follows from it."""
        if death.code == ExitCode.OK and self._ending is Ending.STEP:
            return Verdict.STEP_DONE
        if death.code == ExitCode.OK and self._ending is Ending.RUN and death.marked_finished:
            return Verdict.RUN_DONE
        if death.code == ExitCode.USAGE:
            return Verdict.USAGE
        if self._ending is Ending.STEP and death.code > 0:
            return Verdict.STEP_FAILED
        self._times.append(now)
        while now - self._times[0] > self._limits.window_s:
            self._times.popleft()
        settled = death.ready_s is not None and death.ready_s >= self._limits.settled_s
        self._quick_deaths = 0 if settled else self._quick_deaths + 1
        if death.ready_s is not None:
            self._failed_starts = 0
        elif death.code > 0:
            self._failed_starts += 1
        if len(self._times) > self._limits.max_restarts or self._failed_starts >= self._limits.max_failed_starts:
            return Verdict.CRASH_LOOP
        self.total += 1
        return Verdict.RESTART

    def delay(self) -> float:
        """Seconds to wait before the next start: doubles with every quick death in a row, with +-25 % jitter."""
        exponent = min(max(self._quick_deaths - 1, 0), 16)
        base = min(self._limits.first_delay_s * 2.0**exponent, self._limits.longest_delay_s)
        return base * self._generator.uniform(0.75, 1.25)
