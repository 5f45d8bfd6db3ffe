"""Part of `hiper bench weights`: from the numbers to a token made of them, by a real vLLM that generates meanwhile.

The version is written as the learner writes it, announced, fetched and verified by `WeightsSync`, loaded, and has made
a token: that is the end. The pause is the time in which the engine generates nothing.
"""

import asyncio
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from hiper.bench.timing import BenchOptions, Figure, Report, Say, Target
from hiper.bench.weights import bare_write
from hiper.config import RunConfig
from hiper.streams import PublishedPolicy
from hiper.weights.manifest import version_directory, write_version
from hiper.weights.source import FilesystemSource
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
    with tempfile.TemporaryDirectory(prefix="hiper-bench-") as folder:
        models = [Path(folder, f"model-{seed}") for seed in range(2)]
        parameters = [_MODEL.write(path, seed=seed) for seed, path in enumerate(models)]
        say(f"vLLM starts on {parameters[0]:,} parameters")
        engine = VllmEngine(_config(models[0]))
        try:
            await engine.start()
            bench = _Bench(engine, Path(folder, "weights"), models)
            for version in range(1, options.repeats + 1):
                say(f"publish to serving: {version} of {options.repeats}")
                await bench.once(version)
        finally:
            await engine.close()
    report.sizes = {"serving_parameters": parameters[0], "serving_bytes": bench.bytes}
    report.figures = bench.figures()
    return report


def _config(model: Path) -> RunConfig:
    sampling = {"max_prompt_tokens": 256, "max_response_tokens": 256}
    rollout = {"concurrent_episodes": 8, "sampling": sampling, "dtype": "bfloat16", "enforce_eager": True}
    return RunConfig.model_validate({"model": {"path": str(model)}, "rollout": rollout})


class _Bench:
    """Publishes versions to one engine and keeps the seconds of each."""

    def __init__(self, engine: VllmEngine, root: Path, models: list[Path]) -> None:
        self._engine = engine
        self._root = root
        self._models = models
        self._board = _Board()
        parts = SyncParts(self._board, FilesystemSource(), engine)
        self._sync = WeightsSync(parts, SyncBounds(poll_s=0.05), lambda _ok, _detail: None)
        self.bytes = 0
        self._bare: list[float] = []
        self._whole: list[float] = []
        self._pause: list[float] = []

    async def once(self, version: int) -> None:
        """Measure one version, while a request is generated."""
        source = self._models[version % 2]
        contents = [path.read_bytes() for path in sorted(source.iterdir())]
        await asyncio.to_thread(self._measure_bare, contents)
        busy = asyncio.create_task(self._keep_busy())
        started = time.perf_counter()
        written = await asyncio.to_thread(write_version, self._root, version, lambda to: _copy(source, to), {})
        self._board.policy = PublishedPolicy(version, written.directory.as_uri(), written.manifest_sha256, 1)
        assert await self._sync.poll()
        generation = await self._engine.generate(_PROMPT, Sampling(1.0, 1.0, 1, 0), f"first-{version}")
        self._whole.append(time.perf_counter() - started)
        assert generation.version_start == version
        self._pause.append(self._engine.last_pause_s)
        self.bytes = written.bytes
        busy.cancel()
        with suppress(asyncio.CancelledError):
            await busy
        shutil.rmtree(version_directory(self._root, version))

    def figures(self) -> list[Figure]:
        """What came out."""
        pairs = list(zip(self._whole, self._bare, self._pause, strict=True))
        return [
            Figure("publish to serving", "s", self._whole, "repeats"),
            Figure("the same bytes on this disk, bare", "s", self._bare, "repeats"),
            Figure("publish to serving, against the disk", "x", [w / b for w, b, _ in pairs], "repeats", _WITHIN),
            Figure("pause", "s", self._pause, "repeats"),
            Figure("pause, of publish to serving", "%", [100 * p / w for w, _, p in pairs], "repeats", _PAUSE),
        ]

    def _measure_bare(self, contents: list[bytes]) -> None:
        path = self._root.with_name("bare")
        started = time.perf_counter()
        bare_write(path, contents)
        self._bare.append(time.perf_counter() - started)

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
