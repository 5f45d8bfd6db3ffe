"""Several replicas: every batch is handed on exactly once, whichever of them dies, and no batch waits for ever."""

import asyncio
import subprocess
from collections import Counter
from pathlib import Path

from known_batches import SIZE, assert_as_computed_directly, make_batch
from pipeline_world import Critic, World, eventually, start_service

from hiper.streams import Janitor
from hiper.vocabulary import DropReason, Stream


async def test_of_two_hae_processes_one_is_killed_and_every_batch_is_handed_on_once(
    world: World, tmp_path: Path
) -> None:
    """Both hold a batch when it happens: the survivor's goes on, the victim's is taken over."""
    critic = Critic()
    critic.gate.clear()
    batches = [make_batch(f"train-{number:06d}") for number in range(8)]
    world.run((await world.reward())[0])
    async with critic.serving() as address:
        replicas = [start_service("hae", tmp_path, world.running.url, address, name) for name in ("hae-0", "hae-1")]
        try:
            for batch in batches:
                await world.publish(batch)

            async def both_hold_one() -> bool:
                return (await world.state()).streams[Stream.SCORED].pending == 2 and len(critic.calls) == 2

            await eventually(both_hold_one)
            replicas[0].kill()
            replicas[0].wait(timeout=10)
            critic.gate.set()
            entries = await world.handed_on(len(batches) * SIZE)
            replicas[1].terminate()
            assert await asyncio.to_thread(replicas[1].wait, 20) == 0
        finally:
            end(replicas)
    assert Counter(entry.batch_id for entry in entries) == {batch[0].task.batch_id: SIZE for batch in batches}
    assert len({entry.trajectory_id for entry in entries}) == len(entries)
    for batch in batches:
        name = batch[0].task.batch_id
        assert_as_computed_directly([entry.trajectory() for entry in entries if entry.batch_id == name])
    state = await world.state()
    assert (state.dead_letters, state.ready_batches, state.counts.published) == (0, 0, len(entries))


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        process.wait(timeout=10)


async def test_a_batch_whose_members_do_not_all_come_goes_on_with_those_it_has(world: World) -> None:
    """Whitening and values are then those of the members it has; who comes later is counted and left out."""
    world.group_timeout_s = 1.5
    whole = make_batch("train-000000")
    came, late = whole[:-2], whole[-2:]
    async with Critic().serving() as address:
        world.run((await world.reward())[0])
        world.run((await world.hae(address))[0])
        await world.publish(came)
        janitor = Janitor(world.broker, world.batches())

        async def expired() -> bool:
            return (await janitor.tidy()).open_batches == 0

        await eventually(expired)
        entries = await world.handed_on(len(came))
        await world.publish(late)

        async def counted() -> bool:
            return (await world.state()).counts.dropped.get(DropReason.LATE, 0) == len(late)

        await eventually(counted)
    assert {(entry.members, entry.expected) for entry in entries} == {(len(came), SIZE)}
    assert_as_computed_directly([entry.trajectory() for entry in entries])
    assert (await world.state()).streams[Stream.SCORED].length == 0
