"""What the disk does to the broker: a file torn at any byte, and no space left."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stream_world import KINDS, Pipeline, ServerWorld, eventually, new_world, state, task, trajectory

from hiper.embedded_broker import start
from hiper.streams import Publisher
from hiper.vocabulary import Stream

BATCH = "train-000000"


def log_file(world: ServerWorld) -> Path:
    """The part of the append-only file that grows."""
    (found,) = Path(world.launch.argv[-1]).parent.glob("appendonlydir/*.incr.aof")
    return found


async def test_a_file_torn_at_any_byte_of_a_hand_off_holds_the_script_whole_or_not_at_all(
    server_world: ServerWorld,
) -> None:
    pipeline = await Pipeline.create(server_world)
    await pipeline.publish(trajectory(task(0)), trajectory(task(1)))
    await pipeline.score(1)
    log = log_file(server_world)
    before = log.stat().st_size
    assert await pipeline.score(1) == ["completed"]
    server_world.running.kill()
    await server_world.running.wait()
    whole = log.read_bytes()
    # The record of the script that completed the batch: acknowledged, counted, closed and handed on in one.
    assert len(whole) > before
    outcomes = set()
    for end in range(before, len(whole) + 1, max(1, (len(whole) - before) // 12)):
        log.write_bytes(whole[:end])
        server_world.running = await start(server_world.launch)
        measured = await state(pipeline.broker)
        scored, waiting = measured.streams[Stream.SCORED], measured.waiting_members
        outcomes.add((scored.lag, waiting, measured.streams[Stream.RAW].length))
        server_world.running.kill()
        await server_world.running.wait()
    assert outcomes <= {(0, 1, 1), (1, 2, 0)}, "either the last member is still pending, or the batch is complete"
    log.write_bytes(whole)
    server_world.running = await start(server_world.launch)
    assert (await state(pipeline.broker)).streams[Stream.SCORED].lag == 1


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@pytest.fixture(params=[kind for kind in KINDS if kind != "memory"])
async def cramped(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ServerWorld]:
    """A server on a disk of 6 MB."""
    with small_disk(tmp_path / "disk", 6) as disk:
        async with new_world(str(request.param), disk, unavailable_timeout_s=30.0) as made:
            assert isinstance(made, ServerWorld)
            yield made


async def test_a_full_disk_stops_the_server_and_loses_nothing_that_was_acknowledged(cramped: ServerWorld) -> None:
    pipeline = await Pipeline.create(cramped)
    filler = Path(cramped.launch.argv[-1]).parent / "filler"
    publisher, acknowledged = Publisher(pipeline.broker), 0
    await pipeline.publish(trajectory(task(0)))
    free = shutil.disk_usage(filler.parent).free
    filler.write_bytes(b"\0" * (free - 200_000))
    publishing = asyncio.create_task(publisher.publish(trajectory(task(1), note="x" * 300_000)))

    async def server_is_gone() -> bool:
        return cramped.running.process.returncode is not None

    await eventually(server_is_gone)
    assert not publishing.done(), "nobody was told that it was published"
    filler.unlink()
    cramped.running = await start(cramped.launch)
    assert await publishing, "the same call goes on once there is space"
    acknowledged += 2
    measured = await state(pipeline.broker)
    assert measured.counts.published == acknowledged
    assert measured.in_flight == acknowledged
