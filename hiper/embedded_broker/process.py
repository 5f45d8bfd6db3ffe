"""Run a broker as a child process, for tests and tools; a run's own broker is run by the supervisor."""

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Self

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from hiper.embedded_broker.launch import BrokerLaunch
from hiper.errors import BrokerError

__all__ = ["RunningBroker", "start"]

_POLL_S = 0.02
_STOP_TIMEOUT_S = 10.0
_KEPT_LINES = 20


@dataclass(slots=True)
class RunningBroker:
    """A started server and its last lines of output."""

    launch: BrokerLaunch
    process: asyncio.subprocess.Process
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    _reader: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """URL with the password."""
        return self.launch.url.get_secret_value()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    def kill(self) -> None:
        """SIGKILL, as a power cut would; the data stays."""
        self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """Let the server end in order, or kill it after ten seconds."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            self.kill()
        await self.wait()

    async def wait(self) -> None:
        """Wait until the server has ended and its output is read."""
        await self.process.wait()
        if self._reader:
            await self._reader

    def _signal(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def _read_output(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip())


async def start(launch: BrokerLaunch, timeout_s: float = 10.0) -> RunningBroker:
    """Start the server and wait until it answers.

    Raises BrokerError with the server's last lines if it ends or does not answer within `timeout_s`.
    """
    if not launch.argv:
        raise BrokerError(f"{launch.address} is configured, not ours to start", hint="leave broker.url empty")
    process = await asyncio.create_subprocess_exec(
        *launch.argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **launch.env},
    )
    running = RunningBroker(launch, process)
    running._reader = asyncio.create_task(running._read_output())
    try:
        await _wait_until_ready(running, timeout_s)
    except BaseException:
        running.kill()
        await running.wait()
        raise
    return running


async def _wait_until_ready(running: RunningBroker, timeout_s: float) -> None:
    give_up = time.monotonic() + timeout_s
    client = Redis.from_url(running.url, protocol=2, socket_connect_timeout=1.0, socket_timeout=1.0)
    try:
        while not await _answers(client):
            if running.process.returncode is not None:
                await running.wait()
                raise BrokerError(
                    f"the broker ended at once (exit code {running.process.returncode}): {_last(running)}"
                )
            if time.monotonic() > give_up:
                raise BrokerError(f"the broker did not answer within {timeout_s:g} s: {_last(running)}")
            await asyncio.sleep(_POLL_S)
    finally:
        await client.aclose()


async def _answers(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError):
        return False


def _last(running: RunningBroker) -> str:
    return " | ".join(list(running.lines)[-3:]) or "it said nothing"
