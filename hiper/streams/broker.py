"""`Broker`: one process's view of one run in the broker.

Invariants: every script runs against the epoch this process joined, checked by the script itself; a command that fails
because the server is away is repeated until `unavailable_timeout_s`; data that is gone is an error, never a fresh
start.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self, TypeVar

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from hiper import logs
from hiper.config.sections import BrokerSettings
from hiper.errors import BrokerError, RunStateError
from hiper.streams import scripts
from hiper.streams.counts import Counts
from hiper.streams.errors import BrokerLost
from hiper.streams.keys import GROUPS, PIPELINE, Keys
from hiper.streams.link import Argument, Link
from hiper.streams.server import ServerInfo, objections

__all__ = ["Broker"]

T = TypeVar("T")
_POLL_S = 0.1


class Broker:
    """Connections, keys and scripts of one run. One per process; safe for concurrent tasks of one event loop."""

    def __init__(self, settings: BrokerSettings, run: str, link: Link) -> None:
        self.settings = settings
        self.run = run
        self.keys = Keys(run)
        self.epoch = ""
        self._link = link
        self._log = logs.get()

    @classmethod
    async def connect(cls, settings: BrokerSettings, run: str, client_name: str) -> "Broker":
        """Connect and check version and settings of the server.

        Waits up to `unavailable_timeout_s` for a server that is away or loading. Raises BrokerError if it stays away,
        is too old, may evict entries or keeps no append-only file (`allow_data_loss`, `assume_settings` relax this).
        """
        link = Link(settings, client_name)
        broker = cls(settings, run, link)
        try:
            info = ServerInfo.parse(await link.persist("INFO", lambda: link.command("INFO")))
            broker._verify(info)
        except BaseException:
            await link.close()
            raise
        return broker

    def _verify(self, info: ServerInfo) -> None:
        for message, hint in objections(info, self.settings):
            if not self.settings.assume_settings:
                raise BrokerError(
                    f"{self.address} cannot keep this run: {message}",
                    hint=f"{hint} (broker.assume_settings: true skips this check)",
                )
            self._log.warning("broker.assume_settings overrides a failed check", broker=self.address, objection=message)
        if not info.maxmemory:
            self._log.warning("the broker has no memory limit", broker=self.address, hint="set maxmemory")
        self._log.info("broker connected", broker=self.address, server=info.name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    @property
    def client(self) -> Redis:
        """The pool of short commands, for reads that need no retry of ours."""
        return self._link.client

    @property
    def address(self) -> str:
        """Address of the server, without credentials."""
        return self._link.address

    async def create_run(self) -> str:
        """Create the run if it is new, its consumer groups included, in one step; return its epoch.

        Only the learner and `hiper up` call this.
        """
        script = scripts.load("create_run")
        keys = [self.keys.epoch, *map(self.keys.stream, PIPELINE)]
        words = [secrets.token_hex(8), *(GROUPS[stream] for stream in PIPELINE)]
        self.epoch = (await self.persist(script.name, lambda: self._evaluate(script, keys, words))).decode()
        return self.epoch

    async def join_run(self, timeout_s: float) -> str:
        """Wait until the run exists and remember its epoch. Raises BrokerError if it does not within `timeout_s`."""
        give_up = time.monotonic() + timeout_s
        while not (epoch := await self._read_epoch()):
            if time.monotonic() > give_up:
                raise BrokerError(
                    f"run {self.run} does not exist on {self.address} after {timeout_s:g} s",
                    hint="start the learner first",
                )
            await asyncio.sleep(_POLL_S)
        self.epoch = epoch
        return epoch

    async def check_epoch(self) -> None:
        """Raise BrokerLost if the data of the run that was joined is gone. Runs after every reconnect and NOGROUP."""
        if self.epoch:
            self._compare(await self._read_epoch())

    async def _read_epoch(self) -> str:
        value: bytes | None = await self._link.persist("GET epoch", lambda: self._link.command("GET", self.keys.epoch))
        return (value or b"").decode()

    async def _check_epoch_once(self) -> None:
        if self.epoch:
            self._compare(((await self._link.command("GET", self.keys.epoch)) or b"").decode())

    def _compare(self, epoch: str) -> None:
        if epoch != self.epoch:
            raise BrokerLost(
                f"the broker lost the data of run {self.run}: {self.address} has epoch {epoch or 'none'}, "
                f"not {self.epoch}",
                hint="restore the broker's volume, or start a new run under another name",
            )

    async def counts(self) -> Counts:
        """The counters of the conservation law."""
        fields: dict[bytes, bytes] = await self.command("HGETALL", self.keys.counts)
        return Counts.parse({name.decode(): int(value) for name, value in fields.items()})

    async def server_time_ms(self) -> int:
        """The broker's clock, Unix milliseconds: the one clock every deadline is measured by."""
        seconds, microseconds = await self.command("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def command(self, *words: Argument, blocking: bool = False) -> Any:
        """Send one command that is safe to repeat, until it is answered."""
        return await self.persist(str(words[0]), lambda: self._link.command(*words, blocking=blocking))

    async def script(self, name: str, keys: Sequence[str], *words: Argument, raise_full: bool = False) -> Any:
        """Run a script on the epoch that was joined, until it is answered; `raise_full` as in `Link.persist`."""
        if not self.epoch:
            raise RunStateError(f"run {self.run} was not joined", hint="call create_run or join_run first")
        script = scripts.load(name)
        all_keys, all_words = [self.keys.epoch, *keys], [self.epoch, *words]
        return await self.persist(name, lambda: self._evaluate(script, all_keys, all_words), raise_full=raise_full)

    async def persist(self, what: str, attempt: Callable[[], Awaitable[T]], *, raise_full: bool = False) -> T:
        """`Link.persist`, with the epoch checked on return and error replies told apart."""
        try:
            return await self._link.persist(what, attempt, on_return=self._check_epoch_once, raise_full=raise_full)
        except redis_errors.ResponseError as error:
            await self.check_epoch()
            hint = (
                "somebody deleted it: the run cannot go on" if str(error).startswith(("NOGROUP", "UNBLOCKED")) else ""
            )
            raise BrokerError(f"{self.address} refused {what} of run {self.run}: {error}", hint=hint) from error

    async def close(self) -> None:
        """Close every connection."""
        await self._link.close()

    async def _evaluate(self, script: scripts.Script, keys: Sequence[str], words: Sequence[Argument]) -> Any:
        try:
            return await self._link.command("EVALSHA", script.digest, len(keys), *keys, *words)
        except redis_errors.NoScriptError:
            return await self._link.command("EVAL", script.source, len(keys), *keys, *words)
