"""`hiper bench weights`: from a version's numbers on the learner to whole, verified files beside an engine.

Bare work is measured in the same repeat, because a shared machine's disk changes by the minute: the same bytes written
and flushed (disk), and read from a socket that has nothing but them to send (link). The link is loopback, and once
more one of a fixed bandwidth, as between machines. What a model does with the files is measured by the rollout
(`services.rollout.bench_weights`), and what a step of the optimiser changes by the learner.
"""

import asyncio
import os
import random
import shutil
import socket
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from hiper.bench.timing import BenchOptions, Figure, Report, Say, Target
from hiper.chaos.proxy import FaultProxy, Faults
from hiper.config.weights import WeightsSettings
from hiper.weights.front import HttpFront, WeightsFront, open_front
from hiper.weights.http_source import open_http_source
from hiper.weights.manifest import PublishedWeights, write_version
from hiper.weights.shelf import Shelf, serve_weights
from hiper.weights.source import open_source

__all__ = ["LINK_BYTES_PER_S", "bare_write", "run", "seconds_of_link", "slow_link"]

_SHARD_BYTES = 64 * 2**20
_SHARDS = 4
LINK_BYTES_PER_S = 100e6
_LINK_SHARDS = 1
_ROLLOUTS = 6
_WITHIN = Target(1.5, at_most=True)
"""Of the time the bytes take by themselves."""
_HTTP = WeightsSettings(transport="http")

T = TypeVar("T")


class _Seconds:
    """Values by name, one a repeat."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = defaultdict(list)

    def time(self, name: str, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        done = work()
        self.values[name].append(time.perf_counter() - started)
        return done


def run(options: BenchOptions, say: Say) -> Report:
    """Measure. `options.scale` shrinks the shards."""
    shard = options.times(_SHARD_BYTES)
    report = Report("weights", {"source": "random", "seed": options.seed}, options.repeats)
    report.sizes = {"bytes": _SHARDS * shard, "shards": _SHARDS, "link_bytes_per_s": LINK_BYTES_PER_S}
    shards = [np.random.default_rng(options.seed + number).bytes(shard) for number in range(_SHARDS)]
    seconds, shares = _Seconds(), []
    with tempfile.TemporaryDirectory(prefix="hiper-bench-") as folder:
        for repeat in range(options.repeats):
            say(f"repeat {repeat + 1} of {options.repeats}")
            room = Path(folder, str(repeat))
            room.mkdir()
            _filesystem(room, shards, seconds)
            _http(room, shards, seconds)
            asyncio.run(_slow_link(room, shards[:_LINK_SHARDS], seconds))
            shares.append(_relayed(room, shards))
            shutil.rmtree(room)
    report.figures = _figures(seconds.values, _SHARDS * shard, _LINK_SHARDS * shard)
    report.figures.append(Figure(f"sent by the learner to {_ROLLOUTS} rollouts", "x the model", shares, "repeats"))
    return report


def bare_write(path: Path, contents: list[bytes]) -> None:
    """Write and flush `contents` to one file each, at `path` with a number behind it."""
    for number, content in enumerate(contents):
        with path.with_suffix(f".{number}").open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _figures(seconds: dict[str, list[float]], size: int, link_size: int) -> list[Figure]:
    figures = [
        Figure(name, "MB/s", [(link_size if "fixed" in name else size) / one / 1e6 for one in values], "repeats")
        for name, values in seconds.items()
    ]
    for name, whole, bare in (
        ("filesystem: publish to verified, against the disk", "filesystem: publish to verified", "disk, bare"),
        ("http: fetch to verified, against loopback and disk", "http: fetch to verified", "loopback to disk, bare"),
        ("http, fixed link: fetch to verified, against the link", "http, fixed link: fetch", "fixed link, bare"),
    ):
        ratios = [ours / theirs for ours, theirs in zip(seconds[whole], seconds[bare], strict=True)]
        figures.append(Figure(name, "x", ratios, "repeats", None if "loopback" in name else _WITHIN))
    return figures


def _publish(root: Path, shards: list[bytes], front: WeightsFront) -> tuple[PublishedWeights, str]:
    def write(directory: Path) -> None:
        for number, shard in enumerate(shards):
            (directory / f"model-{number:05d}.safetensors").write_bytes(shard)

    written = write_version(root, 1, write, {})
    return written, front.offer(written)


def _filesystem(room: Path, shards: list[bytes], seconds: _Seconds) -> None:
    seconds.time("disk, bare", lambda: bare_write(room / "bare", shards))
    settings = WeightsSettings()

    def publish_and_verify() -> None:
        with open_front(settings) as front, open_source(room, settings) as source:
            written, uri = _publish(room / "files", shards, front)
            source.fetch(1, uri, written.manifest_sha256)

    seconds.time("filesystem: publish to verified", publish_and_verify)


def _http(room: Path, shards: list[bytes], seconds: _Seconds) -> None:
    with open_front(_HTTP) as front, open_http_source(room / "fetched", _HTTP) as source:
        written, uri = _publish(room / "served", shards, front)
        seconds.time("loopback to disk, bare", lambda: _bare_receive(room / "received", shards))
        seconds.time("http: fetch to verified", lambda: source.fetch(1, uri, written.manifest_sha256))


@asynccontextmanager
async def slow_link(port: int) -> AsyncIterator[int]:
    """A port of loopback behind which `port` lies at a fixed bandwidth, as between machines."""
    async with FaultProxy("127.0.0.1", port, random.Random(0)) as link:
        link.faults = Faults(bytes_per_s=LINK_BYTES_PER_S)
        yield link.port


async def seconds_of_link(contents: list[bytes], path: Path) -> float:
    """How long such a link takes for `contents` and nothing else; they end in a file at `path`."""
    with _sender(contents) as port:
        async with slow_link(port) as far:
            started = time.perf_counter()
            await asyncio.to_thread(_receive, far, path, sum(map(len, contents)))
            return time.perf_counter() - started


async def _slow_link(room: Path, shards: list[bytes], seconds: _Seconds) -> None:
    settings = _HTTP.model_copy(update={"streams": 1})
    seconds.values["fixed link, bare"].append(await seconds_of_link(shards, room / "slowly"))
    with open_front(settings) as front, open_http_source(room / "far", settings) as source:
        written, uri = await asyncio.to_thread(_publish, room / "near", shards, front)
        async with slow_link(int(uri.rsplit(":", 1)[1])) as far:

            def fetch() -> None:
                source.fetch(1, f"http://127.0.0.1:{far}", written.manifest_sha256)

            await asyncio.to_thread(seconds.time, "http, fixed link: fetch", fetch)


def _relayed(room: Path, shards: list[bytes]) -> float:
    """Let rollouts fetch all at once; returns the learner's upload as a multiple of the model."""
    shelf = Shelf()
    with serve_weights(shelf, _HTTP) as url:
        written, uri = _publish(room / "many", shards, HttpFront(shelf, url, delta=False))
        threads = [
            threading.Thread(target=_one_rollout, args=(room / f"rollout-{number}", uri, written))
            for number in range(_ROLLOUTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return shelf.sent_bytes / sum(map(len, shards))


def _one_rollout(cache: Path, uri: str, written: PublishedWeights) -> None:
    with open_http_source(cache, _HTTP) as source:
        source.fetch(1, uri, written.manifest_sha256)


def _bare_receive(path: Path, shards: list[bytes]) -> None:
    with _sender(shards) as port:
        _receive(port, path, sum(map(len, shards)))


@contextmanager
def _sender(contents: list[bytes]) -> Iterator[int]:
    """A socket that sends `contents` to whoever connects first, and nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def send() -> None:
            connection, _ = listener.accept()
            with connection:
                for content in contents:
                    connection.sendall(content)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def _receive(port: int, path: Path, size: int) -> None:
    buffer = memoryview(bytearray(2**20))
    with socket.create_connection(("127.0.0.1", port)) as connection, path.open("wb") as file:
        while size:
            got = connection.recv_into(buffer)
            file.write(buffer[:got])
            size -= got
