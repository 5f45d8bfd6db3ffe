"""What control asks of the learner (`hiper.streams.control`), obeyed between two iterations and nowhere else.

Before anything asked is done, everything applied is put into a checkpoint: a pause or an end holds nothing that a crash
could take back. A run that was stopped has its mark in the run directory and stays stopped over restarts of this
process; `hiper up` on the directory takes the mark away and goes on.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from hiper import logs
from hiper.durable import write_json
from hiper.report.files import FINISHED_NAME, RunFiles
from hiper.streams import ControlRecord, RunControl, RunPhase

__all__ = ["Orders"]

_POLL_S = 1.0


class Orders:
    """Requests of one run, as its learner knows them."""

    def __init__(self, control: RunControl, run_dir: Path) -> None:
        self._control = control
        self._mark = run_dir / FINISHED_NAME
        self._record = ControlRecord()
        self._log = logs.get()
        self.stopped = RunFiles(run_dir).stopped
        """The run ends here."""
        self.evaluation = False
        """This version is to be evaluated, due or not."""

    async def obey(self, version: int, settle: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        """Take up requests before the tasks of `version` are issued; returns after a pause, or when `stop` comes."""
        self._record = record = await self._control.read()
        if record.paused or record.stop_asked or record.evaluation_asked:
            await settle()
        if record.paused:
            self._log.info("paused on request", policy_version=version)
        while record.paused and not record.stop_asked and not stop.is_set():
            await self._control.say(RunPhase.PAUSED, version)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _POLL_S)
            self._record = record = await self._control.read()
        self.stopped, self.evaluation = record.stop_asked, record.evaluation_asked
        await self._control.say(RunPhase.STOPPED if self.stopped else RunPhase.RUNNING, version)

    async def evaluated(self) -> None:
        """A version was evaluated: that answers the request, if there was one."""
        if self.evaluation:
            await self._control.evaluation_taken(self._record)
            self.evaluation = False

    async def finish(self, version: int) -> None:
        """Leave the mark of a run that is at its end, planned or asked for."""
        write_json(self._mark, {"policy_version": version, **({"stopped": True} if self.stopped else {})})
        if self.stopped:
            await self._control.stop_taken(await self._control.read())
            await self._control.say(RunPhase.STOPPED, version)
        self._log.info("run stopped on request" if self.stopped else "run finished", policy_version=version)
