"""From finished trajectories to advantages, over a real broker and a real critic call."""

import asyncio
import subprocess
from pathlib import Path

import numpy as np
import pytest
from known_batches import SIZE, assert_as_computed_directly, expected_rewards, make_batch
from pipeline_world import Critic, World, critic_values, eventually, new_world, received, start_service

from hiper._proto.common.v1.types_pb2 import LevelValues
from hiper._proto.critic.v1.critic_service_pb2 import ValueQuery
from hiper.config.sections import HaeSettings
from hiper.errors import RemoteError
from hiper.vocabulary import DropReason, Stream
from services.hae import worker as hae_worker
from services.hae.values import CriticClient

NOWHERE = "127.0.0.1:1"


async def test_two_batches_come_out_with_the_estimators_own_advantages(world: World) -> None:
    critic = Critic()
    async with critic.serving() as address:
        world.run((await world.reward())[0])
        world.run((await world.hae(address))[0])
        batches = [make_batch("train-000000"), make_batch("train-000001")]
        mixed = [one for pair in zip(*batches, strict=True) for one in pair]
        await world.publish(mixed)
        entries = await world.handed_on(2 * SIZE)
    for batch in batches:
        name = batch[0].task.batch_id
        members = [entry.trajectory() for entry in entries if entry.batch_id == name]
        assert [one.task for one in members] == [one.task for one in batch]
        assert {(entry.members, entry.expected) for entry in entries} == {(SIZE, SIZE)}
        for one in members:
            assert [turn.reward for turn in one.turns] == pytest.approx(expected_rewards(one))
            assert one.HasField("truncation_value") == one.outcome.truncated
            assert one.critic_version == 1
        assert_as_computed_directly(members)
    assert (await world.state()).counts.published == 2 * SIZE


async def test_an_evaluation_batch_needs_no_critic(world: World) -> None:
    world.run((await world.reward())[0])
    world.run((await world.hae(NOWHERE))[0])
    await world.publish(make_batch("eval-000000", size=3))
    members = [entry.trajectory() for entry in await world.handed_on(3)]
    assert not any(turn.HasField("advantages") for one in members for turn in one.turns)
    assert all(turn.HasField("reward") for one in members for turn in one.turns)


async def test_a_critic_free_estimator_asks_nobody(world: World) -> None:
    world.run((await world.reward())[0])
    world.run((await world.hae(NOWHERE, estimator={"name": "grpo"}))[0])
    await world.publish(make_batch("train-000000"))
    members = [entry.trajectory() for entry in await world.handed_on(SIZE)]
    returns = {one.task.trajectory_id: sum(turn.reward for turn in one.turns) for one in members}
    best = max(members, key=lambda one: returns[one.task.trajectory_id])
    assert all(turn.advantages.low > 0 for turn in best.turns), "all play one task, and this one best"
    for turn in (turn for one in members for turn in one.turns):
        assert turn.returns == LevelValues(), "no critic is trained"
    assert not any(one.critic_version for one in members)


async def test_a_batch_of_abandoned_episodes_is_handed_on_as_a_marker(world: World) -> None:
    world.run((await world.reward())[0])
    world.run((await world.hae(NOWHERE))[0])
    made = make_batch("train-000000", size=2)
    for one in made:
        one.ClearField("turns")
        one.ClearField("next_prompt_ids")
        one.outcome.abandoned = "environment"
    await world.publish(made)
    marker = (await world.handed_on(1))[0]
    assert (marker.members, marker.expected, marker.payload) == (0, 2, b"")
    assert (await world.state()).counts.dropped[DropReason.ABANDONED] == 2


async def test_a_critic_that_goes_away_and_returns_is_waited_for(world: World) -> None:
    async with Critic().serving() as address:
        pass
    world.run((await world.reward())[0])
    task = world.run((await world.hae(address))[0])
    await world.publish(make_batch("train-000000"))

    async def waiting() -> bool:
        return (await world.state()).streams[Stream.SCORED].pending == 1

    await eventually(waiting)
    assert not task.done()
    async with Critic().serving(address):
        assert_as_computed_directly([entry.trajectory() for entry in await world.handed_on(SIZE)])


async def test_a_critic_that_stays_away_ends_the_worker_and_the_batch_is_given_back(world: World) -> None:
    world.run((await world.reward())[0])
    worker, _ = await world.hae(NOWHERE, critic_unavailable_timeout_s=3.0)
    await world.publish(make_batch("train-000000"))
    with pytest.raises(RemoteError, match=rf"critic {NOWHERE}: .* within 3 s .*UNAVAILABLE"):
        await world.run(worker)
    async with Critic().serving() as address:
        world.run((await world.hae(address, "hae-1"))[0])
        entries = await world.handed_on(SIZE)
    assert len({entry.trajectory_id for entry in entries}) == SIZE


async def test_all_values_come_from_one_version_of_the_critic() -> None:
    critic = Critic()
    critic.versions = [4, 5, 5, 5]
    queries = [ValueQuery(prompt_ids=np.array([1, 2, n], dtype="<i4").tobytes()) for n in range(600)]
    async with critic.serving() as address, CriticClient(HaeSettings(critic_address=address)) as client:
        reading = await client.read(queries)
    assert reading.version == 5
    assert list(reading.values) == [critic_values(query.prompt_ids) for query in queries]
    assert critic.calls == [512, 88, 512, 88]


async def test_a_hanging_critic_runs_into_the_deadline_and_is_named() -> None:
    critic = Critic()
    critic.gate.clear()
    settings = {"critic_timeout_s": 0.3, "critic_unavailable_timeout_s": 1.5}
    async with critic.serving() as address:
        async with CriticClient(HaeSettings(critic_address=address, **settings)) as client:
            with pytest.raises(RemoteError, match=f"critic {address}.*DEADLINE_EXCEEDED"):
                await client.read([ValueQuery(prompt_ids=b"\1\0\0\0")])
        critic.gate.set()


async def test_a_batch_with_a_value_that_is_not_finite_is_dead_and_names_the_turn(world: World) -> None:
    critic = Critic()
    critic.spoil = True
    async with critic.serving() as address:
        world.run((await world.reward())[0])
        world.run((await world.hae(address))[0])
        await world.publish(make_batch("train-000000"))
        [error] = await world.dead_letters(1)
        assert error.startswith("trajectory test/train-000000/0/0, turn 1: v_low is missing")
    state = await world.state()
    assert (state.counts.dead_lettered, state.in_flight) == (SIZE, 0)


async def test_a_trajectory_held_by_a_dead_worker_is_taken_over_and_its_zombie_refused(tmp_path: Path) -> None:
    async with new_world(tmp_path, claim_idle_s=0.3) as world:
        zombie, held_by = await world.reward("reward-0")
        await world.publish(make_batch("train-000000", size=1))
        held = await received(held_by)
        world.run((await world.reward("reward-1"))[0])

        async def moved() -> bool:
            return (await world.state()).streams[Stream.SCORED].length == 1

        await eventually(moved)
        await zombie.handle(held)
        state = await world.state()
        assert (state.streams[Stream.SCORED].length, state.waiting_members) == (1, 1)


async def test_a_batch_held_by_a_dead_worker_is_taken_over_and_its_zombie_refused(tmp_path: Path) -> None:
    async with new_world(tmp_path, claim_idle_s=0.3) as world, Critic().serving() as address:
        world.run((await world.reward())[0])
        zombie, held_by = await world.hae(address, "hae-0")
        await world.publish(make_batch("train-000000"))
        held = await received(held_by)
        members = await zombie._batches.members(held.batch_id)
        world.run((await world.hae(address, "hae-1"))[0])
        await world.handed_on(SIZE)
        await zombie._hand_off(held, held.batch_ready(), members, "train")
        assert (await world.state()).streams[Stream.ADVANTAGES].length == SIZE


async def test_a_worker_that_waits_for_the_critic_keeps_its_batch(tmp_path: Path) -> None:
    critic = Critic()
    critic.gate.clear()
    async with new_world(tmp_path, claim_idle_s=0.4) as world, critic.serving() as address:
        world.run((await world.reward())[0])
        world.run((await world.hae(address, "hae-0"))[0])
        await world.publish(make_batch("train-000000"))
        await asyncio.wait_for(critic.asked.wait(), 10)
        _, rival = await world.hae(address, "hae-1")
        for _ in range(30):  # each look waits for 50 ms: several times the idle time in all
            assert await rival.receive(1) == []
        critic.gate.set()
        await world.handed_on(SIZE)
        assert len(critic.calls) == 1


async def test_a_drain_gives_back_a_batch_that_waits_for_the_critic(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hae_worker, "_DRAIN_S", 0.1)
    critic = Critic()
    critic.gate.clear()
    async with critic.serving() as address:
        world.run((await world.reward())[0])
        task = world.run((await world.hae(address))[0])
        await world.publish(make_batch("train-000000"))
        await asyncio.wait_for(critic.asked.wait(), 10)
        world.stop.set()
        await asyncio.wait_for(task, 10)
        critic.gate.set()
        _, successor = await world.hae(address, "hae-1")
        assert (await received(successor)).batch_id == "train-000000"


async def test_killed_processes_lose_and_double_nothing(world: World, tmp_path: Path) -> None:
    """Both services as processes, killed and restarted in turns while batches flow."""
    victims = {2: "reward", 5: "hae", 8: "reward", 10: "hae"}
    batches = [make_batch(f"train-{number:06d}") for number in range(12)]
    async with Critic().serving() as address:
        processes: dict[str, subprocess.Popen[bytes]] = {}

        def begin(service: str) -> None:
            processes[service] = start_service(service, tmp_path, world.running.url, address)

        for service in ("reward", "hae"):
            begin(service)
        try:
            for number, batch in enumerate(batches):
                progress = (await world.state()).streams[Stream.ADVANTAGES].length
                await world.publish(batch)
                if number in victims:

                    async def moved(seen: int = progress) -> bool:
                        return (await world.state()).streams[Stream.ADVANTAGES].length > seen

                    await eventually(moved)
                    processes[victims[number]].kill()
                    processes[victims[number]].wait(timeout=10)
                    begin(victims[number])
            entries = await world.handed_on(12 * SIZE)
            assert len({entry.trajectory_id for entry in entries}) == 12 * SIZE
            for process in processes.values():
                process.terminate()
            codes = [await asyncio.to_thread(process.wait, 20) for process in processes.values()]
            assert codes == [0, 0]
        finally:
            for process in processes.values():
                process.kill()
                process.wait(timeout=10)
    assert (await world.state()).dead_letters == 0
    for number in range(12):
        name = f"train-{number:06d}"
        assert_as_computed_directly([entry.trajectory() for entry in entries if entry.batch_id == name])
