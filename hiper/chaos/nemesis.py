"""Carries out the plan against the processes of a run, and notes what it did and how long each recovery took.

A process is never hit before it is ready again: one that is killed over and over while it starts would prove nothing.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from hiper.chaos.plan import Deed, DeedKind
from hiper.chaos.proxy import FaultProxy, Faults
from hiper.chaos.victims import Victim

__all__ = ["History", "Nemesis"]

_POLL_S = 0.05
_READY_BOUND_S = 180.0
"""How long a victim may take to be ready again before the nemesis goes on without it."""
_SLOW = Faults(latency_s=0.2, jitter_s=0.1, slice_bytes=4096)


@dataclass(slots=True)
class History:
    """What was done."""

    done: list[dict[str, object]] = field(default_factory=list)
    """Deeds in order, with the seconds since the beginning."""
    kills: dict[str, int] = field(default_factory=dict)
    """By process."""
    recoveries_s: dict[str, list[float]] = field(default_factory=dict)
    """By process: from each kill to the next readiness."""


class Nemesis:
    """Troubles `victims` until `over` says that the run has ended. `say` is told every deed."""

    def __init__(
        self,
        victims: Sequence[Victim],
        over: Callable[[], bool],
        say: Callable[[str], None],
        proxy: FaultProxy | None = None,
    ) -> None:
        self.history = History()
        self._victims = {victim.name: victim for victim in victims}
        self._over = over
        self._say = say
        self._proxy = proxy
        self._watchers: set[asyncio.Task[None]] = set()

    async def rage(self, plan: Iterable[Deed], kills: int) -> int:
        """Carry out `plan` and return the number of kills: `kills`, or fewer if the run has ended.

        Every victim is ready again by then, or the run has ended.
        """
        started = time.monotonic()
        done = 0
        try:
            for deed in plan:
                if done >= kills or self._over():
                    break
                await asyncio.sleep(deed.pause_s)
                if await self._do(deed):
                    done += deed.kind is DeedKind.KILL
                    self._note(deed, time.monotonic() - started)
            await asyncio.gather(*self._watchers)
        finally:
            for watcher in self._watchers:
                watcher.cancel()
        return done

    async def _do(self, deed: Deed) -> bool:
        """Do one deed; False if its victim is not there to be hit."""
        if deed.target == "network":
            await self._trouble_network(deed)
            return True
        victim = self._victims[deed.target]
        pid = await self._until_ready(victim, other_than=None)
        if pid is None or self._over():
            return False
        if deed.kind is DeedKind.KILL:
            self._kill(victim, pid)
        else:
            await _freeze(pid, deed.duration_s)
        return True

    async def _until_ready(self, victim: Victim, other_than: int | None) -> int | None:
        """Wait until the process is ready and return its id; None if that does not happen in time or at all."""
        give_up = time.monotonic() + _READY_BOUND_S
        while not self._over() and time.monotonic() < give_up:
            pid = await victim.ready()
            if pid not in (None, other_than):
                return pid
            await asyncio.sleep(_POLL_S)
        return None

    def _kill(self, victim: Victim, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.history.kills[victim.name] = self.history.kills.get(victim.name, 0) + 1
        watcher = asyncio.create_task(self._time_recovery(victim, pid))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _time_recovery(self, victim: Victim, killed_pid: int) -> None:
        killed_at = time.monotonic()
        if await self._until_ready(victim, other_than=killed_pid) is not None:
            self.history.recoveries_s.setdefault(victim.name, []).append(time.monotonic() - killed_at)

    async def _trouble_network(self, deed: Deed) -> None:
        assert self._proxy is not None
        if deed.kind is DeedKind.RESET:
            self._proxy.reset_connections()
            return
        self._proxy.faults = Faults(black_hole=True) if deed.kind is DeedKind.PARTITION else _SLOW
        try:
            await asyncio.sleep(deed.duration_s)
        finally:
            self._proxy.faults = Faults()

    def _note(self, deed: Deed, at_s: float) -> None:
        self.history.done.append(
            {
                "at_s": round(at_s, 2),
                "kind": deed.kind.value,
                "target": deed.target,
                "duration_s": round(deed.duration_s, 2),
            }
        )
        lasting = f" for {deed.duration_s:.1f} s" if deed.duration_s else ""
        kills = sum(self.history.kills.values())
        self._say(f"{at_s:6.1f} s  {deed.kind.value} {deed.target}{lasting} ({kills} kills so far)")


async def _freeze(pid: int, duration_s: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(duration_s)
        finally:
            os.kill(pid, signal.SIGCONT)
