"""A checkpoint goes with the broker's data it was made with: what both together lack is never lost in silence."""

import shutil
from pathlib import Path

import pytest
from learner_world import World

from hiper.errors import RunStateError
from hiper.streams import Broker
from services.learner.checkpoint import newest_generation


def remove_newest(run_dir: Path) -> None:
    newest = max((run_dir / "checkpoints").glob("g*/v*"), key=lambda path: (path.parent.name, path.name))
    shutil.rmtree(newest)


async def another_run(world: World) -> Broker:
    broker = await Broker.connect(world.broker.settings, "another", "test")
    await broker.create_run()
    return broker


async def test_a_checkpoint_that_lacks_what_was_acknowledged_is_refused(world: World) -> None:
    async with world.playing():
        await (await world.learner()).finish()
        remove_newest(world.directory)
        remove_newest(world.directory)
        later = await world.learner()
        with pytest.raises(RunStateError, match=r"older than the broker's data: 25 traj.* holds 18"):
            await later.loop.recover()


async def test_data_that_is_not_the_checkpoints_is_taken_on_purpose_only(world: World) -> None:
    async with world.playing():
        await (await world.learner(iterations=2)).finish()
    async with await another_run(world) as broker:
        refused = await world.learner(broker=broker)
        with pytest.raises(RunStateError, match="of version 2, goes with broker data that is gone"):
            await refused.loop.recover()
        await refused.ports.lease.release()
        adopted = await world.learner(broker=broker, adopt_checkpoint=True)
        await adopted.loop.recover()
        assert adopted.loop._state.version == 2
        assert (await adopted.ports.board.read()).version == 2, "its weights are announced to the new data"
        again = await world.learner(broker=broker)
        await again.loop.recover()


async def test_its_checkpoints_outrank_those_of_the_lineage_before(world: World) -> None:
    async with world.playing():
        for _ in range(3):
            await (await world.learner(iterations=1)).finish()
    before = newest_generation(world.directory / "checkpoints")
    async with await another_run(world) as broker:
        first = await world.learner(broker=broker)
        assert first.ports.lease.generation > before
