"""A learner that serves versions and rollouts that fetch them, in one process, over real HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hiper.config.weights import WeightsSettings
from hiper.metrics import render
from hiper.weights import PublishedWeights, write_version
from hiper.weights.deltas import write_deltas
from hiper.weights.http_source import HttpSource, open_http_source
from hiper.weights.shelf import Shelf, serve_weights

WORDS = 1_500_000
SETTINGS = WeightsSettings(
    transport="http", silence_timeout_s=5.0, unavailable_timeout_s=10.0, fetch_timeout_s=60.0, streams=2
)
SHARDS = ("model-00001.safetensors", "model-00002.safetensors")


def numbers(version: int) -> np.ndarray:
    """Every version differs from the one before in one word of a hundred."""
    words = np.random.default_rng(0).integers(0, 2**16, WORDS, dtype=np.uint32)
    for step in range(1, version + 1):
        words[step::100] += 1
    return words.astype("<u2")


def model(version: int) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        for name, half in zip(SHARDS, np.split(numbers(version), 2), strict=True):
            (directory / name).write_bytes(half.tobytes())
        (directory / "tokenizer.json").write_text("{}")

    return write


@dataclass
class Learner:
    """Publishes below `root` and serves at `url`."""

    root: Path
    url: str
    shelf: Shelf
    versions: dict[int, PublishedWeights] = field(default_factory=dict)

    def publish(self, version: int, *, delta_to: int | None = None) -> PublishedWeights:
        written = write_version(self.root, version, model(version), {"run": "test"})
        self.shelf.put_version(written.directory)
        if delta_to is not None and (delta := write_deltas(self.root, delta_to, version)) is not None:
            self.shelf.put_version(delta.directory)
        self.versions[version] = written
        return written

    def bring(self, source: HttpSource, version: int, *, through: str | None = None) -> Path:
        """Let `source` fetch a version, at another address than ours if `through` says so."""
        return source.fetch(version, through or self.url, self.versions[version].manifest_sha256)


@contextmanager
def learner(root: Path, settings: WeightsSettings = SETTINGS) -> Iterator[Learner]:
    shelf = Shelf()
    with serve_weights(shelf, settings) as url:
        yield Learner(root, url, shelf)


@contextmanager
def rollout(cache: Path, **changes: object) -> Iterator[HttpSource]:
    with open_http_source(cache, SETTINGS.model_copy(update=changes)) as source:
        yield source


def metric(sample: str) -> float:
    """Value of a sample of ours, its labels written out; 0 before the first one."""
    for line in render().decode().splitlines():
        if line.startswith(f"hiper_weights_{sample} "):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def received(source: str) -> float:
    return metric(f'received_bytes_total{{source="{source}"}}')
