"""The janitor: closes batches whose time is up, and measures the pipeline at one instant.

Any number may run; each step is an idempotent script. There is nothing to trim: an entry is deleted by the script that
acknowledges it. Hence the length of a stream is what is in flight there, measured and not inferred from counters, and
`gap` compares two independent figures.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hiper import logs
from hiper.errors import BrokerError
from hiper.metrics import counter, gauge
from hiper.streams.batches import Batches
from hiper.streams.broker import Broker
from hiper.streams.counts import Counts
from hiper.streams.keys import GROUPS, PIPELINE
from hiper.streams.vitals import measure_server
from hiper.vocabulary import DropReason, Stream

__all__ = ["Janitor", "PipelineState", "StreamState", "snapshot"]

_SNAPSHOT_ATTEMPTS = 50
_GONE_AFTER_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class StreamState:
    """One stream and its consumer group."""

    length: int
    """Entries not acknowledged."""
    pending: int
    """Of these: delivered."""
    oldest_pending_age_s: float
    """Age of the oldest pending entry since it was added, by the server's clock; 0 if none is pending."""

    @property
    def lag(self) -> int:
        """Entries not delivered yet."""
        return self.length - self.pending


@dataclass(frozen=True, slots=True)
class PipelineState:
    """The pipeline at one instant."""

    at_ms: int
    """Server time, Unix milliseconds."""
    streams: Mapping[Stream, StreamState]
    dead_letters: int
    """Dead letters of every kind."""
    open_batches: int
    """Batches that wait for members."""
    ready_batches: int
    """Batches that are closed and not handed off."""
    waiting_members: int
    """Trajectories in the hashes of both."""
    counts: Counts

    @property
    def in_flight(self) -> int:
        """Trajectories published and not applied, dropped or dead-lettered."""
        raw, advantages = self.streams[Stream.RAW].length, self.streams[Stream.ADVANTAGES].length
        return raw + self.waiting_members + advantages - self.counts.markers

    @property
    def gap(self) -> int:
        """published - applied - dropped - dead-lettered - in flight: 0 always, or trajectories were lost or doubled."""
        return self.counts.published - self.counts.terminal - self.in_flight


async def snapshot(broker: Broker) -> PipelineState:
    """Measure the pipeline in one atomic script."""
    keys = broker.keys
    streams = [keys.stream(stream) for stream in PIPELINE]
    groups = [GROUPS[stream] for stream in PIPELINE]
    for _ in range(_SNAPSHOT_ATTEMPTS):
        batches = [name.decode() for name in await broker.command("ZRANGE", keys.due, 0, -1)]
        names = [keys.stream(Stream.DEAD_LETTERS), keys.counts, keys.due, *streams, *map(keys.members, batches)]
        reply = await broker.script("snapshot", names, *groups, *batches)
        if reply is not None:
            return _parse(reply)
    raise BrokerError(
        f"the batches of run {broker.run} changed during each of {_SNAPSHOT_ATTEMPTS} snapshots",
        hint="the broker is too slow or too far away to be measured",
    )


class Janitor:
    """Housekeeping of a run, every `interval_s`."""

    def __init__(self, broker: Broker, batches: Batches, interval_s: float = 1.0) -> None:
        self._broker = broker
        self._batches = batches
        self._interval_s = interval_s
        self._log = logs.get()

    async def run(self) -> None:
        """Keep house for ever. Raises BrokerError when the broker is gone for good."""
        while True:
            await self.tidy()
            await asyncio.sleep(self._interval_s)

    async def tidy(self) -> PipelineState:
        """One round: expire, measure the pipeline and the server, export."""
        expired = await self._batches.expire_due()
        counter("stream_batches_expired_total").inc(expired)
        if expired:
            self._log.warning("batches closed before all members had come", batches=expired)
        state = await self.snapshot()
        _export(state)
        await measure_server(self._broker)
        return state

    async def snapshot(self) -> PipelineState:
        """The pipeline at this instant."""
        return await snapshot(self._broker)

    async def remove_gone_consumers(self, idle_s: float = _GONE_AFTER_S) -> int:
        """Forget consumers that were idle for `idle_s` and hold nothing, e.g. pods of long ago; return their number."""
        removed = 0
        for stream in PIPELINE:
            words = (GROUPS[stream], int(idle_s * 1000))
            removed += int(await self._broker.script("reap_consumers", [self._broker.keys.stream(stream)], *words))
        return removed


def _parse(reply: Sequence[object]) -> PipelineState:
    clock, streams, dead_letters, batches, open_batches, members, counts = reply
    assert isinstance(clock, list)
    assert isinstance(streams, list)
    assert isinstance(counts, list)
    at_ms = int(clock[0]) * 1000 + int(clock[1]) // 1000
    pairs = zip(counts[::2], counts[1::2], strict=True)
    return PipelineState(
        at_ms=at_ms,
        streams={name: _stream_state(row, at_ms) for name, row in zip(PIPELINE, streams, strict=True)},
        dead_letters=int(str(dead_letters)),
        open_batches=int(str(open_batches)),
        ready_batches=int(str(batches)) - int(str(open_batches)),
        waiting_members=int(str(members)),
        counts=Counts.parse({name.decode(): int(value) for name, value in pairs}),
    )


def _stream_state(row: Sequence[int | bytes], at_ms: int) -> StreamState:
    length, pending, oldest = row
    added_ms = int(bytes(oldest).partition(b"-")[0]) if oldest else at_ms
    return StreamState(int(length), int(pending), max(0, at_ms - added_ms) / 1000)


def _export(state: PipelineState) -> None:
    for stream, measured in state.streams.items():
        labels = {"stream": stream.value, "group": GROUPS[stream]}
        gauge("stream_lag_entries").labels(**labels).set(measured.lag)
        gauge("stream_pending_entries").labels(**labels).set(measured.pending)
        gauge("stream_oldest_pending_age_seconds").labels(**labels).set(measured.oldest_pending_age_s)
        gauge("stream_length_entries").labels(stream=stream.value).set(measured.length)
    gauge("stream_length_entries").labels(stream=Stream.DEAD_LETTERS.value).set(state.dead_letters)
    counts = state.counts
    ends = {"applied": counts.applied, "dropped": sum(counts.dropped.values()), "dead_lettered": counts.dead_lettered}
    for name, number in {"published": counts.published, **ends, "in_flight": state.in_flight}.items():
        gauge("stream_trajectories").labels(state=name).set(number)
    for reason in DropReason:
        gauge("stream_dropped_trajectories").labels(reason=reason.value).set(counts.dropped.get(reason.value, 0))
    gauge("stream_in_flight").set(state.in_flight)
    gauge("stream_conservation_gap").set(state.gap)
