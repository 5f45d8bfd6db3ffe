"""With fsync everysec a power cut takes the last second of the broker's data back: work is repeated, nothing is lost.

The append-only file is a log, so what is left is the data of an earlier instant, every script whole or absent.
"""

import asyncio
import shutil
from pathlib import Path

import pytest
from learner_world import World, eventually, new_world
from test_learner_loop import uninterrupted

from hiper.embedded_broker import start
from services.learner import loop


async def back_to(world: World, kept: Path) -> None:
    """Cut the power, and start from what was on disk some time ago."""
    world.running.kill()
    await world.running.wait()
    data = world.directory / "broker"
    shutil.rmtree(data)
    shutil.copytree(kept, data)
    world.running = await start(world.running.launch)


@pytest.mark.parametrize("held", ["train-000001", "eval-000002"])
async def test_what_a_power_cut_takes_back_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    expected = await uninterrupted(tmp_path)
    monkeypatch.setattr(loop, "REMIND_S", 0.3)
    directory = tmp_path / "run"
    directory.mkdir()
    async with new_world(directory, claim_idle_s=0.5) as world, world.playing():
        learner = await world.learner()
        released = False
        world.holds = lambda batch_id: batch_id == held and not released
        learning = asyncio.create_task(learner.finish())
        await world.plays(held)
        kept = tmp_path / "kept"
        shutil.copytree(directory / "broker", kept)
        released = True
        await eventually(lambda: learner.loop._state.version == 3)
        await back_to(world, kept)
        await learning
        assert expected.equals(learner)
        # The law holds of what the broker knows; what was applied and forgotten is not asked for again.
        counts = (await world.state()).counts
        assert (counts.dropped, counts.dead_lettered) == ({}, 0)
