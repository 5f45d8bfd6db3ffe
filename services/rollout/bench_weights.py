"""Part of `hiper bench weights`: from the numbers to a token made of them, by a real vLLM that generates meanwhile.

The version is written as the learner writes it, announced, fetched and verified by `WeightsSync`, loaded, and has made
a token: that is the end. The pause is the time in which the engine generates nothing.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from hiper.bench.timing import BenchOptions, Figure, Report, Say, Target
from hiper.bench.weights import LINK_BYTES_PER_S, bare_write, seconds_of_link, slow_link
from hiper.config import RunConfig
from hiper.config.weights import WeightsSettings
from hiper.streams import PublishedPolicy
from hiper.weights.front import FilesystemFront, HttpFront
from hiper.weights.http_source import open_http_source
from hiper.weights.manifest import PublishedWeights, version_directory, write_version
from hiper.weights.shelf import Shelf, serve_weights
from hiper.weights.source import FilesystemSource, WeightsSource
from services.rollout.bench_model import BenchModel
from services.rollout.engine import Sampling
from services.rollout.vllm_engine import VllmEngine
from services.rollout.weights_sync import SyncBounds, SyncParts, WeightsSync

__all__ = ["run"]

_MODEL = BenchModel(hidden=1024, layers=10, vocabulary=16_384)
_PROMPT = list(range(1, 33))
_WITHIN, _PAUSE = Target(1.5, at_most=True), Target(10.0, at_most=True)


class _Board:
    """Announces what it was told."""

    policy: PublishedPolicy | None = None

    async def read(self) -> PublishedPolicy | None:
        return self.policy


def run(options: BenchOptions, say: Say) -> Report:
    """Measure. Needs vLLM."""
    return asyncio.run(_run(options, say))


async def _run(options: BenchOptions, say: Say) -> Report:
    report = Report("weights", {}, options.repeats)
    async with AsyncExitStack() as open_while:
        folder = Path(open_while.enter_context(tempfile.TemporaryDirectory(prefix="hiper-bench-")))
        models = [folder / f"model-{seed}" for seed in range(2)]
        parameters = [_MODEL.write(path, seed=seed) for seed, path in enumerate(models)]
        say(f"vLLM starts on {parameters[0]:,} parameters")
        engine = VllmEngine(_config(models[0]))
        open_while.push_async_callback(engine.close)
        await engine.start()
        ways = [_disk(folder), await _link(folder, open_while)]
        bench = _Bench(engine, folder / "weights", models)
        for repeat in range(options.repeats):
            for way in ways:
                say(f"publish to serving, {way.name}: {repeat + 1} of {options.repeats}")
                await bench.once(way)
    report.sizes = {"serving_parameters": parameters[0], "serving_bytes": bench.bytes}
    report.figures = [figure for way in ways for figure in way.figures()]
    return report


@dataclass
class _Way:
    """How versions get to the engine, what it takes without us, and the seconds of each version."""

    name: str
    source: WeightsSource
    offer: Callable[[PublishedWeights], str]
    bare: Callable[[list[bytes]], Awaitable[float]]
    whole_s: list[float] = field(default_factory=list)
    bare_s: list[float] = field(default_factory=list)
    pause_s: list[float] = field(default_factory=list)

    def figures(self) -> list[Figure]:
        """What came out."""
        against = [whole / bare for whole, bare in zip(self.whole_s, self.bare_s, strict=True)]
        share = [100 * pause / whole for pause, whole in zip(self.pause_s, self.whole_s, strict=True)]
        return [
            Figure(f"{self.name}: publish to serving", "s", self.whole_s, "repeats"),
            Figure(f"{self.name}: the same bytes, bare", "s", self.bare_s, "repeats"),
            Figure(f"{self.name}: publish to serving, against bare", "x", against, "repeats", _WITHIN),
            Figure(f"{self.name}: pause", "s", self.pause_s, "repeats"),
            Figure(f"{self.name}: pause, of publish to serving", "%", share, "repeats", _PAUSE),
        ]


def _disk(folder: Path) -> _Way:
    """The file system that learner and rollout share."""

    async def bare(contents: list[bytes]) -> float:
        started = time.perf_counter()
        await asyncio.to_thread(bare_write, folder / "bare", contents)
        return time.perf_counter() - started

    return _Way("shared disk", FilesystemSource(), FilesystemFront().offer, bare)


async def _link(folder: Path, open_while: AsyncExitStack) -> _Way:
    """A link of fixed bandwidth between them; every version is another model than the one kept: all of it is sent."""
    settings = WeightsSettings(transport="http", streams=1, keep_fetched=1)
    shelf = Shelf()
    port = int(open_while.enter_context(serve_weights(shelf, settings)).rsplit(":", 1)[1])
    far = await open_while.enter_async_context(slow_link(port))
    front = HttpFront(shelf, f"http://127.0.0.1:{far}", delta=False)
    source = open_while.enter_context(open_http_source(folder / "fetched", settings))

    async def bare(contents: list[bytes]) -> float:
        return await seconds_of_link(contents, folder / "received")

    name = f"link of {LINK_BYTES_PER_S / 1e6:g} MB/s"
    return _Way(name, source, front.offer, bare)


def _config(model: Path) -> RunConfig:
    sampling = {"max_prompt_tokens": 256, "max_response_tokens": 256}
    rollout = {"concurrent_episodes": 8, "sampling": sampling, "dtype": "bfloat16", "enforce_eager": True}
    return RunConfig.model_validate({"model": {"path": str(model)}, "rollout": rollout})


class _Bench:
    """Publishes versions to one engine."""

    def __init__(self, engine: VllmEngine, root: Path, models: list[Path]) -> None:
        self._engine = engine
        self._root = root
        self._models = models
        self._board = _Board()
        self._version = 0
        self.bytes = 0

    async def once(self, way: _Way) -> None:
        """Measure one version, while a request is generated."""
        self._version += 1
        version, source = self._version, self._models[len(way.bare_s) % 2]
        way.bare_s.append(await way.bare([path.read_bytes() for path in sorted(source.iterdir())]))
        sync = WeightsSync(
            SyncParts(self._board, way.source, self._engine), SyncBounds(poll_s=0.05), lambda _ok, _detail: None
        )
        busy = asyncio.create_task(self._keep_busy())
        started = time.perf_counter()
        written = await asyncio.to_thread(write_version, self._root, version, lambda to: _copy(source, to), {})
        uri = await asyncio.to_thread(way.offer, written)
        self._board.policy = PublishedPolicy(version, uri, written.manifest_sha256, 1)
        assert await sync.poll()
        generation = await self._engine.generate(_PROMPT, Sampling(1.0, 1.0, 1, 0), f"first-{version}")
        way.whole_s.append(time.perf_counter() - started)
        assert generation.version_start == version
        way.pause_s.append(self._engine.last_pause_s)
        self.bytes = written.bytes
        busy.cancel()
        with suppress(asyncio.CancelledError):
            await busy
        shutil.rmtree(version_directory(self._root, version))

    async def _keep_busy(self) -> None:
        number = 0
        while True:
            number += 1
            await self._engine.generate(
                _PROMPT, Sampling(1.0, 1.0, 200, number), f"busy-{number}-{time.monotonic_ns()}"
            )


def _copy(source: Path, target: Path) -> None:
    for path in source.iterdir():
        shutil.copyfile(path, target / path.name)
