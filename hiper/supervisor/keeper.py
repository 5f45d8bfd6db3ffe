"""One process kept alive: started when those it requires are ready, watched, restarted, given up.

`Keeper.run` returns when the process needs no keeping any more, with the verdict that ended it. It never stops a
process on its own behalf, but for one that does not become ready or does not answer any more; stopping a run is the
supervisor's business (`Supervisor`).
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hiper import logs
from hiper.config.sections import SupervisorSettings
from hiper.failpoint import VARIABLE as FAILPOINT
from hiper.service.asking import http_get, waiting_for
from hiper.supervisor.children import Child, Guardian, tied
from hiper.supervisor.lastlines import last_error
from hiper.supervisor.plan import ProcessPlan
from hiper.supervisor.restart import Death, RestartLimits, Restarts, Verdict
from hiper.supervisor.status import ProcessState, ProcessStatus

__all__ = ["Keeper", "Surroundings"]

_POLL_S = 0.1
_WATCH_S = 2.0
_HANG_S = 120.0
"""A process that has not answered over HTTP for this long is killed. Liveness is served by a thread of its own, so only
a frozen process stays silent; the bound leaves room for a machine that swaps."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all keepers of a run share."""

    settings: SupervisorSettings
    guardian: Guardian
    finished: Callable[[], bool]
    """Whether the run's mark of completion is in the run directory."""
    changed: Callable[[], None]
    """Called after every change of a status."""
    hang_s: float = _HANG_S


class Keeper:
    """Keeps one process. `ready_once` is set when it first became ready (a step: ended well)."""

    def __init__(self, plan: ProcessPlan, around: Surroundings, generator: random.Random) -> None:
        self.plan = plan
        self.status = ProcessStatus(plan.name, plan.service, http=plan.http)
        self.ready_once = asyncio.Event()
        self.child: Child | None = None
        self._around = around
        settings = around.settings
        limits = RestartLimits(settings.max_restarts, settings.restart_window_s)
        self._restarts = Restarts(plan.ending, limits, generator)
        self._log = logs.get(process=plan.name)
        self._log_start = 0

    async def run(self, required: Sequence["Keeper"]) -> Verdict:
        """Keep the process until it needs no keeping; see the module."""
        for keeper in required:
            await keeper.ready_once.wait()
        while True:
            ready_s, code = await self._live()
            death = Death(code, ready_s, self._around.finished())
            verdict = self._restarts.judge(death, time.monotonic())
            if verdict is not Verdict.RESTART:
                self._end(verdict, code)
                return verdict
            delay = self._restarts.delay()
            reason = describe_exit(code)
            self._log.warning("process died", reason=reason, error=self.last_error(), next=f"restart in {delay:.1f} s")
            self.set(ProcessState.BACKOFF, f"{reason}; again in {delay:.1f} s", last_exit=code, pid=None)
            await asyncio.sleep(delay)
            self.set(ProcessState.STARTING, restarts=self._restarts.total)

    def last_error(self) -> str:
        """The line of the current or last life that tells why it ended."""
        return last_error(self.plan.log, since=self._log_start)

    def set(self, state: ProcessState, detail: str = "", **fields: Any) -> None:
        """Change the status and tell."""
        changed = replace(self.status, state=state, detail=detail, **fields)
        if changed != self.status:
            self.status = changed
            self._around.changed()

    async def _live(self) -> tuple[float | None, int]:
        """One life: start, become ready, be watched, end. Returns for how long it was ready, if ever, and the code."""
        plan = self.plan
        self._log_start = plan.log.stat().st_size if plan.log.exists() else 0
        child = await self._start()
        self.set(ProcessState.STARTING, pid=child.pid, started_at=time.time())
        end = asyncio.ensure_future(child.wait())
        try:
            if await self._until_ready(end):
                since = time.monotonic()
                await self._watch(end)
                return time.monotonic() - since, await end
            if plan.probe is not None and not end.done():
                self._log.error("process did not become ready", waiting=self.status.detail, next="kill")
                child.kill()
            return None, await end
        finally:
            end.cancel()

    async def _start(self) -> Child:
        """Start the process and remember it, even if this keeper is cancelled meanwhile: somebody must end it."""
        plan = self.plan
        environment = dict(plan.environment)
        if self._restarts.total:
            environment.pop(FAILPOINT, None)  # it has had its turn

        async def start() -> Child:
            argv = tied(plan.argv, self._around.settings.cores.get(plan.service, ()))
            self.child = await Child.start(argv, environment, plan.log, self._around.guardian)
            return self.child

        starting = asyncio.create_task(start())
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await starting
            raise

    async def _until_ready(self, end: "asyncio.Future[int]") -> bool:
        probe = self.plan.probe
        if probe is None:
            await asyncio.wait([end])
            return False
        deadline = time.monotonic() + self._around.settings.ready_timeout_s
        while not end.done() and time.monotonic() < deadline:
            if await probe():
                if end.done():
                    return False
                self.ready_once.set()
                self.set(ProcessState.READY)
                return True
            if self.plan.http is not None and time.monotonic() > deadline - 1:
                self.set(ProcessState.STARTING, await waiting_for(self.plan.http, self.plan.health))
            await asyncio.wait([end], timeout=_POLL_S)
        return False

    async def _watch(self, end: "asyncio.Future[int]") -> None:
        """Follow readiness until the process ends; kill it if it answers nobody any more."""
        http, silent_since = self.plan.http, None
        while not end.done():
            await asyncio.wait([end], timeout=_WATCH_S)
            if http is None or end.done():
                continue
            status, _ = await http_get(http, self.plan.health)
            if status == 200:
                self.set(ProcessState.READY)
            elif status:
                self.set(ProcessState.UNREADY, await waiting_for(http, self.plan.health))
            if status == 200 or (await http_get(http, "/healthz"))[0] == 200:
                silent_since = None
                continue
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > self._around.hang_s and self.child is not None:
                self._log.error("process does not answer", seconds=self._around.hang_s, next="kill and restart")
                self.child.kill()

    def _end(self, verdict: Verdict, code: int) -> None:
        done = verdict in (Verdict.STEP_DONE, Verdict.RUN_DONE)
        self.set(
            ProcessState.DONE if done else ProcessState.STOPPED,
            "" if done else describe_exit(code),
            last_exit=code,
            pid=None,
        )
        if done:
            self.ready_once.set()


def describe_exit(code: int) -> str:
    """Put an exit code in words: `exit code 3`, `killed by signal 9`."""
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
