"""The supervisor: keeps every process of a run until the run is complete, is stopped, or cannot go on.

Start is by readiness, along the requirements. Drain is the reverse: those nobody requires end first, the broker last;
each layer has `drain_timeout_s`, then it is killed. Nothing it started outlives it (`Guardian`).
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hiper import logs
from hiper.config.sections import SupervisorSettings
from hiper.supervisor.children import Guardian
from hiper.supervisor.keeper import Keeper, Surroundings, describe_exit
from hiper.supervisor.lastlines import last_lines
from hiper.supervisor.plan import ProcessPlan
from hiper.supervisor.restart import Verdict
from hiper.supervisor.status import ProcessState, ProcessStatus
from hiper.supervisor.table import layers

__all__ = ["End", "Outcome", "Supervisor"]

_LAST_LINES = 8
_ENDED = (ProcessState.DONE, ProcessState.STOPPED)


class End(StrEnum):
    """How a run ended, as seen from outside."""

    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run."""

    end: End
    error: str = ""
    """One line: which process, and why."""
    lines: tuple[str, ...] = ()
    """Last lines of the culprit's log."""


class Supervisor:
    """Runs planned processes. `finished` looks for the run's mark; `on_change` is called whenever a status changed;
    `at_rest` is awaited when everything but what others require (the broker) has been drained."""

    def __init__(
        self,
        plans: Sequence[ProcessPlan],
        settings: SupervisorSettings,
        *,
        finished: Callable[[], bool],
        on_change: Callable[[], None] = lambda: None,
        at_rest: Callable[[], Awaitable[None]] | None = None,
        generator: random.Random | None = None,
    ) -> None:
        self._plans = tuple(plans)
        self._settings = settings
        self._finished = finished
        self._on_change = on_change
        self._at_rest = at_rest
        self._generator = generator or random.Random()
        self._keepers: dict[str, Keeper] = {}
        self._tasks: dict[asyncio.Task[Verdict], Keeper] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._resized = asyncio.Event()
        self._stop = asyncio.Event()
        self._kill = asyncio.Event()
        self.draining = False

    def stop(self) -> None:
        """Ask for a drain; asked again, kill."""
        if self._stop.is_set():
            self._kill.set()
        self._stop.set()

    def processes(self) -> tuple[ProcessStatus, ...]:
        """Status of every process, in the order of the plan."""
        return tuple(keeper.status for keeper in self._keepers.values())

    @property
    def plans(self) -> tuple[ProcessPlan, ...]:
        """What is run now."""
        return self._plans

    async def run(self) -> Outcome:
        """Start everything, keep it, and drain it; nothing runs any more when this returns."""
        async with Guardian() as guardian:
            self._around = Surroundings(self._settings, guardian, self._finished, self._on_change)
            self._start(self._plans)
            try:
                outcome = await self._until_end()
            finally:
                self.draining = True
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, *self._leaving, return_exceptions=True)
                await self._drain()
            return outcome

    def resize(self, service: str, plans: Sequence[ProcessPlan]) -> None:
        """Run exactly `plans` of a service nobody requires: the missing are started, the others drained, meanwhile."""
        if self.draining:
            return
        wanted = {plan.name for plan in plans}
        present = {plan.name for plan in self._plans if plan.service == service}
        for name in present - wanted:
            self._dismiss(name)
        new = [plan for plan in plans if plan.name not in present]
        self._plans = (*(plan for plan in self._plans if plan.name not in present - wanted), *new)
        self._start(new)
        self._resized.set()
        self._on_change()

    def _start(self, plans: Sequence[ProcessPlan]) -> None:
        self._keepers |= {plan.name: Keeper(plan, self._around, self._generator) for plan in plans}
        for plan in plans:
            keeper = self._keepers[plan.name]
            required = [self._keepers[name] for name in plan.requires]
            self._tasks[asyncio.create_task(keeper.run(required), name=plan.name)] = keeper

    def _dismiss(self, name: str) -> None:
        keeper = self._keepers.pop(name)
        for task in [task for task, kept in self._tasks.items() if kept is keeper]:
            del self._tasks[task]
            task.cancel()
        leaving = asyncio.create_task(self._end(keeper))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _until_end(self) -> Outcome:
        stop = asyncio.create_task(self._stop.wait())
        try:
            while True:
                resized = asyncio.create_task(self._resized.wait())
                await asyncio.wait({stop, resized, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
                resized.cancel()
                self._resized.clear()
                for task in [task for task in self._tasks if task.done()]:
                    outcome = self._conclude(self._tasks.pop(task), task.result())
                    if outcome is not None:
                        return outcome
                if stop.done():
                    return Outcome(End.STOPPED)
        finally:
            stop.cancel()

    def _conclude(self, keeper: Keeper, verdict: Verdict) -> Outcome | None:
        if verdict is Verdict.STEP_DONE:
            return None
        if verdict is Verdict.RUN_DONE:
            return Outcome(End.COMPLETE)
        name, log = keeper.plan.name, keeper.plan.log
        code = keeper.status.last_exit
        said = keeper.last_error() or (describe_exit(code) if code is not None else "")
        again = f" after {keeper.status.restarts} restarts" if verdict is Verdict.CRASH_LOOP else ""
        logs.get().error("run stopped", process=name, verdict=verdict.value, error=said, next="drain the others")
        return Outcome(End.FAILED, f"{name} failed{again}: {said}", tuple(last_lines(log, _LAST_LINES)))

    async def _drain(self) -> None:
        self.draining = True
        first, *later = layers({plan.name: plan.requires for plan in self._plans})
        for layer in reversed(later):
            await asyncio.gather(*(self._end(self._keepers[name]) for name in layer))
        if self._at_rest is not None:
            await self._at_rest()
        await asyncio.gather(*(self._end(self._keepers[name]) for name in first))

    async def _end(self, keeper: Keeper) -> None:
        """End one process: SIGTERM, a bounded wait that a second `stop` cuts short, SIGKILL."""
        child = keeper.child
        if child is not None and child.running:
            keeper.set(ProcessState.DRAINING)
            child.terminate()
            end = asyncio.ensure_future(child.wait())
            kill = asyncio.create_task(self._kill.wait())
            started = time.monotonic()
            await asyncio.wait({end, kill}, timeout=self._settings.drain_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            kill.cancel()
            if not end.done():
                waited = round(time.monotonic() - started, 1)
                logs.get().warning("process did not drain", process=keeper.plan.name, seconds=waited, next="kill")
                child.kill()
            keeper.set(ProcessState.STOPPED, last_exit=await end, pid=None)
        elif keeper.status.state not in _ENDED:
            keeper.set(ProcessState.STOPPED, pid=None)
