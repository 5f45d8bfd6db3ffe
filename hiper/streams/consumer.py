"""A consumer of one stream: what it reads, what it takes over, what it gives up on (spec/streams.md, 5).

Order of one `receive`: entries this consumer held when it last ended (once per start, in portions), entries left
untouched for `claim_idle_s` (now and then, the scan's cursor kept), new entries. An entry stays pending until a script
acknowledges it together with what follows from it. Work that may take longer than `claim_idle_s` sends heartbeats, or
another consumer takes it over; what a consumer was given it is not given again before it has released it.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager

from hiper import logs
from hiper.errors import IntegrityError
from hiper.metrics import counter
from hiper.streams.broker import Broker
from hiper.streams.dead_letters import Letter, dead_letter
from hiper.streams.entry import SCHEMA_VERSION, Delivery
from hiper.streams.errors import FutureSchema
from hiper.streams.link import Argument
from hiper.vocabulary import Stream

__all__ = ["Consumer"]

RawEntry = tuple[bytes, dict[bytes, bytes] | None]
"""An entry as redis-py returns it; None for the fields of one that was deleted while pending."""

Portion = tuple[list[RawEntry], Sequence[int]]
"""Entries and how often each has been delivered."""

_SCAN_START = "-"
_SCANS_PER_IDLE_TIME = 4
_BEATS_PER_IDLE_TIME = 4


class Consumer:
    """One consumer. `name` is the process's name, stable over restarts, so that a restart finds what it held."""

    def __init__(
        self,
        broker: Broker,
        stream: Stream,
        group: str,
        name: str,
        prefetch: int = 16,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._stream = stream
        self._key = broker.keys.stream(stream)
        self._group = group
        self._name = name
        self._prefetch = prefetch
        self._clock = clock
        self._log = logs.get(stream=stream.value)
        self._own_cursor: str | None = "0"
        """Where the reading of the own pending list goes on; None once that is done."""
        self._held: set[str] = set()
        """Entries handed to the caller in this life; of those that were acknowledged, the next scan frees us."""
        self._claim_cursor = _SCAN_START
        self._claim_due = -math.inf

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        """Yield deliveries for ever, read `prefetch` at a time."""
        while True:
            for delivery in await self.receive(self._prefetch):
                yield delivery

    async def receive(self, limit: int) -> list[Delivery]:
        """Return up to `limit` entries; an empty list if none came within `block_ms`.

        Outlives an absence of the broker. An entry delivered too often or damaged goes to the dead letters instead.
        Raises BrokerLost if the run's data is gone, BrokerError after `unavailable_timeout_s`, FutureSchema for an
        entry of a newer schema, which stays pending.
        """
        entries, counts = await self._resume(limit)
        if not entries:
            entries, counts = await self._claim(limit)
        if not entries:
            entries = await self._read_group(limit, ">")
            counts = [1] * len(entries)
        return await self._sift(entries, counts)

    async def ack(self, delivery: Delivery, *, deduplicated: bool = False) -> bool:
        """Acknowledge a task: its trajectory is published, by this process or, if `deduplicated`, found to be (P9).

        False if somebody else had acknowledged it. Trajectories and batches leave their stream by a hand-off only.
        """
        if self._stream is not Stream.TASKS:
            raise ValueError(f"an entry of {self._stream.value} is acknowledged by its hand-off, not by itself")
        counted = ["tasks_done", "deduplicated"] if deduplicated else ["tasks_done"]
        keys = [self._key, self._broker.keys.counts]
        acked = bool(await self._broker.script("ack", keys, self._group, delivery.entry_id, *counted))
        self._count("stream_acked_total" if acked else "stream_fenced_total")
        return acked

    async def heartbeat(self, deliveries: Collection[Delivery]) -> frozenset[str]:
        """Say that these entries are being worked on; return the ids of those another consumer has taken over."""
        ids = [delivery.entry_id for delivery in deliveries]
        return frozenset(ids) - await self._touch(ids, idle_ms=0, forgive=0)

    @asynccontextmanager
    async def kept(self, delivery: Delivery) -> AsyncIterator[None]:
        """Send heartbeats for `delivery` while the body works, so that nobody takes it over for want of news."""
        beat = asyncio.create_task(self._beat(delivery))
        try:
            yield
        finally:
            beat.cancel()
            # A heartbeat that failed is told by whatever the body does next: it needs the same broker.
            await asyncio.gather(beat, return_exceptions=True)

    async def release(self, deliveries: Collection[Delivery]) -> None:
        """Give entries back unfinished: anybody may take them at once, this consumer too, and this delivery is
        forgiven.
        """
        ids = [delivery.entry_id for delivery in deliveries]
        self._held.difference_update(ids)
        await self._touch(ids, idle_ms=int(self._broker.settings.claim_idle_s * 1000), forgive=1)

    async def dead_letter(self, delivery: Delivery, error: str) -> bool:
        """Move an entry to the dead letters (P6); False if somebody else had taken it."""
        moved = await dead_letter(self._broker, Letter(self._stream, self._group, delivery, error))
        self._log.error("dead letter", entry=delivery.entry_id, trajectory_id=delivery.trajectory_id, error=error)
        return moved

    async def _beat(self, delivery: Delivery) -> None:
        while True:
            await asyncio.sleep(self._broker.settings.claim_idle_s / _BEATS_PER_IDLE_TIME)
            await self.heartbeat([delivery])

    async def _resume(self, limit: int) -> Portion:
        if self._own_cursor is None:
            return [], []
        entries = await self._read_group(limit, self._own_cursor)
        self._own_cursor = entries[-1][0].decode() if entries else None
        ids = [entry_id for entry_id, _ in entries]
        counts = await self._broker.script("deliveries", [self._key], self._group, *ids) if ids else []
        return entries, counts

    async def _claim(self, limit: int) -> Portion:
        if self._clock() < self._claim_due:
            return [], []
        idle_s = self._broker.settings.claim_idle_s
        words: list[Argument] = [self._group, self._name, int(idle_s * 1000), self._claim_cursor, limit, *self._held]
        cursor, claimed, counts, deleted, held = await self._broker.script("claim", [self._key], *words)
        self._held = {entry.decode() for entry in held}
        self._claim_cursor = cursor.decode()
        if self._claim_cursor == _SCAN_START:
            self._claim_due = self._clock() + idle_s / _SCANS_PER_IDLE_TIME
        self._count("stream_claimed_total", len(claimed))
        self._report_deleted([entry.decode() for entry in deleted])
        return [(entry_id, dict(zip(flat[::2], flat[1::2], strict=True))) for entry_id, flat in claimed], counts

    async def _read_group(self, limit: int, after: str) -> list[RawEntry]:
        block: list[Argument] = ["BLOCK", self._broker.settings.block_ms] if after == ">" else []
        words: list[Argument] = ["GROUP", self._group, self._name, "COUNT", limit, *block, "STREAMS", self._key, after]
        reply = await self._broker.command("XREADGROUP", *words, blocking=True)
        return list(reply[0][1]) if reply else []

    async def _sift(self, entries: Sequence[RawEntry], counts: Sequence[int]) -> list[Delivery]:
        deliveries = [_delivery(entry, count) for entry, count in zip(entries, counts, strict=True) if entry[1]]
        await self._drop_deleted([entry_id.decode() for entry_id, fields in entries if not fields])
        await self._refuse_future(deliveries)
        self._count("stream_delivered_total", len(deliveries))
        self._count("stream_redelivered_total", sum(delivery.deliveries > 1 for delivery in deliveries))
        good = [delivery for delivery in deliveries if not await self._is_poison(delivery)]
        self._held |= {delivery.entry_id for delivery in good}
        return good

    async def _refuse_future(self, deliveries: Sequence[Delivery]) -> None:
        future = [delivery for delivery in deliveries if delivery.schema_version > SCHEMA_VERSION]
        if future:
            await self.release(deliveries)
            raise FutureSchema(
                f"entry {future[0].entry_id} of {self._stream.value} has schema {future[0].schema_version}, "
                f"this process knows up to {SCHEMA_VERSION}",
                hint="upgrade this service; the entry waits",
            )

    async def _is_poison(self, delivery: Delivery) -> bool:
        if delivery.deliveries > self._broker.settings.max_deliveries:
            await self.dead_letter(delivery, f"delivered {delivery.deliveries} times without success")
            return True
        try:
            delivery.check()
        except IntegrityError as error:
            await self.dead_letter(delivery, str(error))
            return True
        return False

    async def _touch(self, ids: Sequence[str], *, idle_ms: int, forgive: int) -> frozenset[str]:
        if not ids:
            return frozenset()
        words: list[Argument] = [self._group, self._name, idle_ms, forgive, *ids]
        owned: list[bytes] = await self._broker.script("touch", [self._key], *words)
        return frozenset(entry.decode() for entry in owned)

    async def _drop_deleted(self, ids: Sequence[str]) -> None:
        if ids:
            await self._broker.command("XACK", self._key, self._group, *ids)
            self._report_deleted(ids)

    def _report_deleted(self, ids: Sequence[str]) -> None:
        if ids:
            self._count("stream_deleted_while_pending_total", len(ids))
            self._log.error("entries were deleted while pending: somebody trimmed the stream", entries=list(ids))

    def _count(self, metric: str, number: int = 1) -> None:
        if number:
            counter(metric).labels(stream=self._stream.value).inc(number)


def _delivery(entry: RawEntry, deliveries: int) -> Delivery:
    entry_id, fields = entry
    named = {name.decode(): value for name, value in (fields or {}).items()}
    return Delivery(entry_id.decode(), named.get("p", b""), deliveries, named)
