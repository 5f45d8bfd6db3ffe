"""Who can be hit: the processes of a run, and a broker of the experiment's own."""

import asyncio
import contextlib
from pathlib import Path
from typing import Protocol, Self

from hiper.config.sections import BrokerSettings
from hiper.embedded_broker import resolve_broker, start
from hiper.embedded_broker.process import RunningBroker
from hiper.service.asking import http_get
from hiper.supervisor.probe import broker_answers
from hiper.supervisor.status import ProcessState, by_name, read_status

__all__ = ["OwnBroker", "RunProcess", "Victim"]

_RESTART_S = 0.2


class Victim(Protocol):
    """A process that somebody starts again when it dies."""

    @property
    def name(self) -> str:
        """What it is called in plans and reports."""
        ...

    async def ready(self) -> int | None:
        """Return its process id if it serves now, else None."""
        ...


class RunProcess:
    """A process of a run of `hiper up`, known by its name in `status.json`."""

    def __init__(self, run_dir: Path, name: str) -> None:
        self.name = name
        self._run_dir = run_dir

    async def ready(self) -> int | None:
        """See `Victim.ready`: asked over HTTP, or, for a broker, as its keeper sees it."""
        status = by_name(read_status(self._run_dir).processes).get(self.name)
        if status is None or status.pid is None:
            return None
        if status.http is None:
            return status.pid if status.state is ProcessState.READY else None
        return status.pid if (await http_get(status.http, "/readyz"))[0] == 200 else None


class OwnBroker:
    """A server with its data in `directory`, started again whenever it dies; an async context manager."""

    name = "broker"

    def __init__(self, settings: BrokerSettings, directory: Path) -> None:
        self.launch = resolve_broker(settings, directory)
        self._running: RunningBroker | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = await start(self.launch)
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._keeper is not None
        self._keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._keeper
        if self._running is not None:
            await self._running.stop()

    async def ready(self) -> int | None:
        """See `Victim.ready`."""
        running = self._running
        if running is None or not await broker_answers(running.url):
            return None
        return running.process.pid

    async def _keep(self) -> None:
        while True:
            assert self._running is not None
            await self._running.wait()
            self._running = None
            await asyncio.sleep(_RESTART_S)
            self._running = await start(self.launch)
