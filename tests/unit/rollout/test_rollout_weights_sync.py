import asyncio
import dataclasses
import threading
from pathlib import Path

import pytest
from rollout_fakes import Board, ScriptedEngine

from hiper.errors import IntegrityError
from hiper.metrics import render
from hiper.streams import PublishedPolicy
from hiper.weights import FilesystemSource, write_version
from services.rollout.engine import EngineDead, RequestRefused, Sampling
from services.rollout.weights_sync import SyncBounds, SyncParts, WeightsSync


class GatedSource(FilesystemSource):
    """Holds a fetch while its gate is closed."""

    def __init__(self) -> None:
        self.gate, self.reached = threading.Event(), threading.Event()
        self.gate.set()

    def fetch(self, version: int, uri: str, sha256: str) -> Path:
        self.reached.set()
        assert self.gate.wait(30)
        return super().fetch(version, uri, sha256)


class Desk:
    """A sync with its neighbours, and what it reported."""

    def __init__(self, root: Path) -> None:
        self.root, self.board, self.engine = root, Board(), ScriptedEngine()
        self.reports: list[tuple[bool, str]] = []
        self.source = GatedSource()
        parts = SyncParts(self.board, self.source, self.engine)
        self.sync = WeightsSync(parts, SyncBounds(0.001, 30.0), lambda ok, text: self.reports.append((ok, text)))

    def publish(self, version: int, *, generation: int = 1) -> Path:
        def write(directory: Path) -> None:
            (directory / "model.safetensors").write_bytes(b"x" * 1000 + bytes([version]))

        made = write_version(self.root, version, write, {})
        self.board.policy = PublishedPolicy(version, made.directory.as_uri(), made.manifest_sha256, generation)
        return made.directory


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def metric(sample: str) -> float:
    for line in render().decode().splitlines():
        if line.startswith(f"hiper_weights_{sample} "):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def failures(stage: str) -> float:
    return metric(f'failures_total{{stage="{stage}"}}')


def end_to_end() -> float:
    return metric("end_to_end_duration_seconds_sum")


async def test_a_published_version_is_loaded_once(desk: Desk) -> None:
    assert await desk.sync.poll()
    assert not desk.engine.loaded, "nothing is published yet"
    directory = desk.publish(4)
    for _ in range(3):
        assert await desk.sync.poll()
    assert desk.engine.loaded == [(directory, 4)]
    assert desk.reports == [(True, "policy version 4")]


async def test_damaged_files_are_never_loaded_and_tried_again(desk: Desk) -> None:
    directory = desk.publish(1)
    file = directory / "model.safetensors"
    good = file.read_bytes()
    file.write_bytes(good[:-1] + b"?")
    before = failures("fetch")
    assert not await desk.sync.poll()
    assert not desk.engine.loaded
    assert failures("fetch") == before + 1
    assert desk.reports[-1][0] is False
    file.write_bytes(good)
    assert await desk.sync.poll()
    assert desk.engine.loaded == [(directory, 1)]


async def test_a_rollout_that_is_behind_stays_ready_on_complete_older_weights(desk: Desk) -> None:
    desk.publish(0)
    await desk.sync.poll()
    (desk.publish(1) / "model.safetensors").unlink()
    assert not await desk.sync.poll()
    assert desk.reports[-1][0] is True
    assert desk.engine.version == 0


async def test_a_checkpoint_of_another_model_is_not_a_reason_to_stop(desk: Desk) -> None:
    desk.publish(0)
    desk.engine.load_failures = [IntegrityError("other shapes")] * 5
    for _ in range(5):
        assert not await desk.sync.poll()
    assert await desk.sync.poll()


async def test_a_swap_that_keeps_failing_ends_the_process(desk: Desk) -> None:
    desk.publish(1)
    desk.engine.load_failures = [RequestRefused("half-way")] * 3
    assert not await desk.sync.poll()
    assert desk.reports[-1][0] is False, "an engine that is paused is not ready"
    assert not await desk.sync.poll()
    with pytest.raises(EngineDead, match="3 times"):
        await desk.sync.poll()


async def test_a_failed_swap_is_forgotten_by_a_good_one(desk: Desk) -> None:
    for version in range(4):
        desk.publish(version)
        desk.engine.load_failures = [RequestRefused("half-way")] * 2
        assert not await desk.sync.poll()
        assert not await desk.sync.poll()
        assert await desk.sync.poll()
    assert desk.engine.version == 3


async def test_a_restored_learner_may_publish_a_lower_version(desk: Desk) -> None:
    desk.publish(5)
    await desk.sync.poll()
    directory = desk.publish(3, generation=2)
    await desk.sync.poll()
    assert desk.engine.loaded[-1] == (directory, 3)


async def test_waiting_ends_with_the_version_asked_for_or_a_newer_one(desk: Desk) -> None:
    waiting = {version: asyncio.create_task(desk.sync.wait_for(version)) for version in (0, 2, 3)}
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting.values()), "the base model is no published version"
    desk.publish(2)
    await desk.sync.poll()
    await asyncio.wait_for(asyncio.gather(waiting[0], waiting[2]), 5)
    assert not waiting[3].done()
    waiting[3].cancel()


async def test_it_follows_by_itself(desk: Desk) -> None:
    following = asyncio.create_task(desk.sync.run())
    for version in range(3):
        desk.publish(version)
        await asyncio.wait_for(desk.sync.wait_for(version), 5)
    following.cancel()
    assert [version for _, version in desk.engine.loaded] == [0, 1, 2]


async def test_the_engine_generates_while_a_version_is_fetched(desk: Desk) -> None:
    desk.publish(0)
    await desk.sync.poll()
    desk.publish(1)
    desk.source.gate.clear()
    desk.source.reached.clear()
    polling = asyncio.create_task(desk.sync.poll())
    assert await asyncio.to_thread(desk.source.reached.wait, 30)
    generation = await desk.engine.generate([1], Sampling(1.0, 1.0, 8, 0), "episode#0")
    assert generation.version_end == 0
    assert len(desk.engine.loaded) == 1, "nothing touches the engine before the files are verified"
    desk.source.gate.set()
    assert await polling
    assert desk.engine.version == 1


async def test_a_fetch_that_takes_too_long_is_a_failure_with_its_bound(desk: Desk) -> None:
    desk.publish(0)
    desk.source.gate.clear()
    parts = SyncParts(desk.board, desk.source, desk.engine)
    sync = WeightsSync(parts, SyncBounds(0.001, 0.01), lambda ok, text: desk.reports.append((ok, text)))
    assert not await sync.poll()
    assert desk.reports[-1][0] is False
    assert "fetch_timeout_s" in desk.reports[-1][1]
    desk.source.gate.set()


async def test_the_time_from_announcement_to_serving_is_a_metric(desk: Desk) -> None:
    desk.publish(0)
    assert desk.board.policy is not None
    desk.board.policy = dataclasses.replace(desk.board.policy, announced_at=100.0)
    parts = SyncParts(desk.board, desk.source, desk.engine)
    sync = WeightsSync(parts, SyncBounds(0.001), lambda _ok, _text: None, now=lambda: 107.5)
    before = end_to_end()
    await sync.poll()
    assert end_to_end() - before == 7.5
    assert "hiper_weights_version_skew 0.0" in render().decode()
