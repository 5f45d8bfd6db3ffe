"""A broker in this process's memory, for tests of user code and for simulations: the same scripts, no server.

`fakeredis` plays the server and runs the very Lua the services run (extra `memory`). It keeps nothing when the process
ends and has no memory limit, no disk and no network; everything else of the delivery contract holds, and the contract
tests run against it as they do against Valkey and Redis. Time is `time.time`, so a simulation may bend it.
"""

import asyncio
import contextlib
import hashlib
from typing import Any

from fakeredis import FakeAsyncRedis, FakeServer
from redis import exceptions as redis_errors

from hiper.config.sections import BrokerSettings
from hiper.streams.broker import Broker
from hiper.streams.link import Argument, Link

__all__ = ["MemoryLink", "MemoryServer"]

_URL = "redis://memory:6379/0"
_TICK_S = 1e-4
"""Less than this is no time: a clock need not tell it from zero."""


class MemoryServer:
    """A server that any number of brokers of this process, and of one event loop, may connect to."""

    def __init__(self) -> None:
        self._server = FakeServer(server_type="valkey")
        self._written = asyncio.Event()

    async def broker(self, run: str, client_name: str, settings: BrokerSettings | None = None) -> Broker:
        """Connect. Join or create the run with it as with any other broker; close it at the end."""
        link = MemoryLink(self._server, self._written, settings or BrokerSettings(), client_name)
        await link.prepare()
        return Broker(link.settings, run, link)


class MemoryLink(Link):
    """See `Link`."""

    def __init__(self, server: FakeServer, written: asyncio.Event, settings: BrokerSettings, client_name: str) -> None:
        self.settings = BrokerSettings.model_validate({**settings.model_dump(), "url": _URL})
        self._server = server
        self._written = written

        def client(_url: str, _settings: BrokerSettings, _name: str) -> FakeAsyncRedis:
            return FakeAsyncRedis(server=server, protocol=2)

        super().__init__(self.settings, client_name, client)

    async def prepare(self) -> None:
        """Give the scripts the one function of a real server that fakeredis lacks."""
        await self.client.eval("return 1", 0)  # makes the interpreter
        interpreter: Any = getattr(self._server, "_lua_runtime")  # noqa: B009 - set by fakeredis at the first script
        interpreter.globals().redis.sha1hex = _sha1hex

    async def command(self, *words: Argument, blocking: bool = False) -> Any:
        """See `Link.command`. Scripts are sent whole, without the header that fakeredis does not know."""
        if words[0] == "INFO":
            return {}  # fakeredis tells nothing of itself
        if words[0] == "EVALSHA":
            raise redis_errors.NoScriptError("scripts are sent whole")
        if words[0] == "EVAL":
            header, _, body = str(words[1]).partition("\n")
            words = ("EVAL", f"\n{body}" if header.startswith("#!") else words[1], *words[2:])
        if blocking:
            return await self._until_something(words)
        answer = await super().command(*words)
        self._written.set()
        return answer

    async def _until_something(self, words: tuple[Argument, ...]) -> Any:
        """A blocking read: fakeredis answers at once, so it is asked again after every write until the time is up."""
        block_ms = int(words[words.index("BLOCK") + 1]) if "BLOCK" in words else 0
        give_up = asyncio.get_running_loop().time() + block_ms / 1000
        while True:
            answer = await super().command(*words)
            remaining_s = give_up - asyncio.get_running_loop().time()
            if answer or remaining_s < _TICK_S:
                return answer
            self._written.clear()
            # The wait alone is bounded: a read that is cut off may have delivered entries to nobody.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._written.wait(), remaining_s)


def _sha1hex(text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
