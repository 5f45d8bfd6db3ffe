"""`hiper bench streams`: what delivery costs, beside bare commands on the same server in the same run.

Three questions. Throughput: entries of 100 kB a second, published, moved into their batch and handed on, with fsync
always and everysec, each as a share of what bare commands reach; the two sides take turns. Latency: every stage, one
trajectory at a time. Growth: a publish and a move while a thousand to a million entries wait.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.bench.stream_bed import BATCH, Bed, Fsync, bed, installed_servers, make_batch, together
from hiper.bench.timing import BenchOptions, Figure, Report, Say, Target
from hiper.streams.entry import encode

__all__ = ["run"]

_ENTRY_BYTES = 100_000
_SMALL_BYTES = 200
_BATCHES = 4
_WAITING = (1_000, 10_000, 100_000, 1_000_000)
_CALLS = 100
_MODES: tuple[Fsync, ...] = ("always", "everysec")
_SHARE = Target(0.85)
"""Within 15 % of bare commands."""


_EMPTY = "empty script"

Answer = TypeVar("Answer")


class _Watch:
    """Seconds that named pieces of work took, on the clock and of the server's CPU."""

    def __init__(self, place: Bed) -> None:
        self._place = place
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.server_seconds: dict[str, list[float]] = defaultdict(list)

    async def time(self, name: str, work: Awaitable[Answer]) -> Answer:
        used = await self._place.server_seconds()
        started = time.perf_counter()
        answer = await work
        self.seconds[name].append(time.perf_counter() - started)
        self.server_seconds[name].append(await self._place.server_seconds() - used)
        return answer


def run(options: BenchOptions, say: Say) -> Report:
    """Measure. `options.scale` shrinks the numbers of entries. Raises `DependencyError` without a server to start."""
    return asyncio.run(_run(options, say))


async def _run(options: BenchOptions, say: Say) -> Report:
    report = Report("streams", {"source": "random", "seed": options.seed}, options.repeats)
    generator = np.random.default_rng(options.seed)
    waiting = [options.times(number, least=_CALLS) for number in _WAITING]
    report.sizes = {"entry_bytes": _ENTRY_BYTES, "batch": BATCH, "batches": options.times(_BATCHES)}
    report.sizes |= {"waiting": waiting, "waiting_entry_bytes": _SMALL_BYTES, "calls": _CALLS}
    for server in installed_servers():
        for mode in _MODES:
            async with bed(mode, server) as place:
                where = f"{place.server} {mode}"
                say(f"{where}: throughput")
                report.figures += await _throughput(place, where, generator, options)
                say(f"{where}: latency of each stage")
                report.figures += await _latency(place, where, generator)
        async with bed("everysec", server) as place:
            for number in waiting:
                say(f"{place.server}: {number:,} entries wait")
                report.figures += await _growth(place, number, f"{place.server} {number:,} waiting", generator)
    return report


async def _throughput(place: Bed, where: str, generator: np.random.Generator, options: BenchOptions) -> list[Figure]:
    number, ours, bare = options.times(_BATCHES), _Watch(place), _Watch(place)
    for _ in range(options.repeats):
        batches = [make_batch(generator, _ENTRY_BYTES) for _ in range(number)]
        await _ours(place, ours, batches)
        await _bare(place, bare, batches)
    entries, figures = number * BATCH, []
    for stage, seconds in ours.seconds.items():
        figures += _compared(f"{where}: {stage}", entries, seconds, bare.seconds[stage])
    floor = [entries / one for one in bare.seconds[_EMPTY]]
    figures.append(Figure(f"{where}: a script that does nothing with its entry", "entries/s", floor, "repeats"))
    return figures + _server_costs(where, entries, {"": ours, ", bare": bare})


def _server_costs(where: str, entries: int, sides: Mapping[str, _Watch]) -> list[Figure]:
    """The server's CPU time for one entry, by stage and side."""
    return [
        Figure(f"{where}: {stage}, server CPU{side}", "ms/entry", [one * 1e3 / entries for one in seconds], "repeats")
        for side, watch in sides.items()
        for stage, seconds in watch.server_seconds.items()
    ]


async def _ours(place: Bed, watch: _Watch, batches: Sequence[Sequence[Trajectory]]) -> None:
    members = [member for batch in batches for member in batch]
    await watch.time("publish", together(place.publisher.publish, members))
    raw = await place.receive(place.raw, len(members))
    await watch.time("add to batch", together(place.add, raw))
    ready = await place.receive(place.scored, len(batches))
    closed = [(one, await place.batches.members(one.batch_id)) for one in ready]
    await watch.time("hand-off", together(lambda batch: place.hand_off(*batch), closed))
    await place.apply(await place.receive(place.advantages, len(members)))


async def _bare(place: Bed, watch: _Watch, batches: Sequence[Sequence[Trajectory]]) -> None:
    entries = [[encode(member, id=member.task.trajectory_id) for member in batch] for batch in batches]
    payloads = [member.SerializeToString() for batch in batches for member in batch]
    flat = [entry for batch in entries for entry in batch]
    await watch.time("publish", together(place.bare_publish, flat))
    await watch.time(_EMPTY, together(place.empty_script, flat))
    moved = list(zip(await place.bare_read(len(payloads)), payloads, strict=True))
    await watch.time("add to batch", together(place.bare_add, moved))
    await watch.time("hand-off", together(place.bare_hand_off, entries))
    await place.bare_clear()


def _compared(name: str, entries: int, ours: Sequence[float], bare: Sequence[float]) -> list[Figure]:
    """The rate of each side, and ours as a share of the other's, repeat by repeat."""
    shares = [theirs / one for one, theirs in zip(ours, bare, strict=True)]
    return [
        Figure(name, "entries/s", [entries / one for one in ours], "repeats"),
        Figure(f"{name}, bare", "entries/s", [entries / one for one in bare], "repeats"),
        Figure(f"{name}, share of bare", "", shares, "repeats", _SHARE),
    ]


async def _latency(place: Bed, where: str, generator: np.random.Generator) -> list[Figure]:
    watch = _Watch(place)
    for _ in range(_CALLS):
        (member,) = make_batch(generator, _ENTRY_BYTES, size=1)
        await watch.time("publish", place.publisher.publish(member))
        (raw,) = await watch.time("deliver to reward", place.receive(place.raw, 1))
        await watch.time("add to batch", place.add(raw))
        (ready,) = await watch.time("deliver to hae", place.receive(place.scored, 1))
        members = await watch.time("read members", place.batches.members(ready.batch_id))
        await watch.time("hand-off", place.hand_off(ready, members))
        arrived = await watch.time("deliver to learner", place.receive(place.advantages, 1))
        await watch.time("apply", place.apply(arrived))
    return [_milliseconds(f"{where}: one {stage}", seconds) for stage, seconds in watch.seconds.items()]


async def _growth(place: Bed, number: int, where: str, generator: np.random.Generator) -> list[Figure]:
    """Publish and move `_CALLS` trajectories while `number` entries wait behind them."""
    watch = _Watch(place)
    first, last = (make_batch(generator, _SMALL_BYTES, _CALLS) for _ in range(2))
    await together(place.publisher.publish, first)
    await place.fill(number, first[0])
    for member in last:
        await watch.time("publish", place.publisher.publish(member))
    for _ in first:
        (raw,) = await watch.time("deliver", place.receive(place.raw, 1))
        await watch.time("add to batch", place.add(raw))
    await place.empty()
    return [_milliseconds(f"{where}: {stage}", seconds) for stage, seconds in watch.seconds.items()]


def _milliseconds(name: str, seconds: Sequence[float]) -> Figure:
    return Figure(name, "ms", [one * 1e3 for one in seconds], "calls")
