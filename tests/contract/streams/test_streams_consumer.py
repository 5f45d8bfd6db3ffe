"""A consumer's life: own pending entries, claims, heartbeats, poison, damage, schemas of the future."""

import asyncio
from typing import Any

import pytest
from stream_world import Pipeline, World, eventually, receive, state, task, trajectory

from hiper.metrics import counter
from hiper.streams import Consumer, DeadLetters, Delivery, FutureSchema, snapshot
from hiper.streams.entry import pack
from hiper.vocabulary import Stream

IDLE = {"claim_idle_s": 0.05}
"""Short enough for a test to wait for."""


async def pipeline_with(world: World, **changes: Any) -> Pipeline:
    world.settings = world.settings.model_copy(update=changes)
    return await Pipeline.create(world)


async def test_nothing_comes_from_an_empty_stream(pipeline: Pipeline) -> None:
    assert await pipeline.consumer(Stream.RAW).receive(10) == []


async def test_what_was_published_before_the_first_consumer_is_delivered(pipeline: Pipeline) -> None:
    await pipeline.publish(trajectory(task(0)), trajectory(task(1)))
    assert len(await receive(pipeline.consumer(Stream.RAW), 2)) == 2


async def test_two_consumers_share_a_stream(pipeline: Pipeline) -> None:
    await pipeline.publish(*(trajectory(task(n)) for n in range(4)))
    first = await pipeline.consumer(Stream.RAW, "a").receive(2)
    second = await pipeline.consumer(Stream.RAW, "b").receive(10)
    assert [d.trajectory().task.sample for d in first + second] == [0, 1, 2, 3]


async def test_iteration_yields_deliveries(pipeline: Pipeline) -> None:
    await pipeline.publish(*(trajectory(task(n)) for n in range(3)))
    seen = []
    async for delivery in pipeline.consumer(Stream.RAW):
        seen.append(delivery.trajectory().task.sample)
        if len(seen) == 3:
            break
    assert seen == [0, 1, 2]


async def test_a_restarted_consumer_finds_what_it_held_and_then_what_is_new(pipeline: Pipeline) -> None:
    await pipeline.publish(*(trajectory(task(n)) for n in range(5)))
    await receive(pipeline.consumer(Stream.RAW), 4)
    restarted = pipeline.consumer(Stream.RAW)
    held = await restarted.receive(3) + await restarted.receive(3)
    assert [(d.trajectory().task.sample, d.deliveries) for d in held] == [(0, 2), (1, 2), (2, 2), (3, 2)]
    (new,) = await receive(restarted, 1)
    assert (new.trajectory().task.sample, new.deliveries) == (4, 1)
    assert await restarted.receive(3) == [], "own pending entries are read once per start"


async def test_an_entry_left_untouched_is_taken_over_and_its_first_owner_fenced(world: World) -> None:
    pipeline = await pipeline_with(world, **IDLE)
    await pipeline.publish(trajectory(task(size=1)))
    (held,) = await receive(pipeline.consumer(Stream.RAW, "zombie"), 1)
    (claimed,) = await receive(pipeline.consumer(Stream.RAW, "b"), 1)
    assert (claimed.entry_id, claimed.deliveries) == (held.entry_id, 2)
    assert await pipeline.batches.add_member(claimed, claimed.trajectory()) == "completed"
    assert await pipeline.batches.add_member(held, held.trajectory()) == "fenced"
    measured = await state(pipeline.broker)
    assert (measured.counts.fenced, measured.waiting_members) == (1, 1)


async def test_the_zombie_may_win_and_its_claimer_is_fenced(world: World) -> None:
    pipeline = await pipeline_with(world, **IDLE)
    await pipeline.publish(trajectory(task(size=1)))
    (held,) = await receive(pipeline.consumer(Stream.RAW, "zombie"), 1)
    (claimed,) = await receive(pipeline.consumer(Stream.RAW, "b"), 1)
    assert await pipeline.batches.add_member(held, held.trajectory()) == "completed"
    assert await pipeline.batches.add_member(claimed, claimed.trajectory()) == "fenced"
    assert (await state(pipeline.broker)).waiting_members == 1


async def test_claiming_goes_through_a_long_pending_list_by_portions(world: World) -> None:
    """A scan that began at the start each time would never get past the first COUNT x 10 entries."""
    pipeline = await pipeline_with(world, **IDLE)
    await pipeline.publish(*(trajectory(task(n, size=60)) for n in range(60)))
    await receive(pipeline.consumer(Stream.RAW, "gone"), 60)
    await asyncio.sleep(IDLE["claim_idle_s"])
    consumer, seen = pipeline.consumer(Stream.RAW, "b"), set[str]()

    async def all_claimed() -> bool:
        for delivery in await consumer.receive(2):
            seen.add(delivery.entry_id)
        return len(seen) == 60

    await eventually(all_claimed)


async def test_a_heartbeat_keeps_an_entry_and_counts_no_delivery(world: World) -> None:
    pipeline = await pipeline_with(world, claim_idle_s=0.5)
    await pipeline.publish(trajectory(task()))
    owner, other = pipeline.consumer(Stream.RAW, "a"), pipeline.consumer(Stream.RAW, "b")
    (held,) = await receive(owner, 1)
    loop = asyncio.get_running_loop()
    end = loop.time() + 1.0
    while loop.time() < end:
        assert await owner.heartbeat([held]) == frozenset()
        assert await other.receive(1) == []
    pending = await pipeline.broker.client.xpending_range(
        pipeline.broker.keys.stream(Stream.RAW), "reward", "-", "+", 1
    )
    assert (pending[0]["consumer"], pending[0]["times_delivered"]) == (b"a", 1)


async def test_the_heartbeat_of_a_zombie_takes_nothing_back(world: World) -> None:
    pipeline = await pipeline_with(world, **IDLE)
    await pipeline.publish(trajectory(task()))
    zombie, claimer = pipeline.consumer(Stream.RAW, "zombie"), pipeline.consumer(Stream.RAW, "b")
    (held,) = await receive(zombie, 1)
    await receive(claimer, 1)
    assert await zombie.heartbeat([held]) == {held.entry_id}
    assert await claimer.heartbeat([held]) == frozenset()


async def test_a_released_entry_is_free_at_once_and_forgiven(pipeline: Pipeline) -> None:
    await pipeline.publish(trajectory(task()))
    draining = pipeline.consumer(Stream.RAW, "a")
    held = await receive(draining, 1)
    await draining.release(held)
    (taken,) = await receive(pipeline.consumer(Stream.RAW, "b"), 1)
    assert taken.deliveries == 1


async def test_a_slow_consumer_is_not_given_again_what_it_holds(world: World) -> None:
    """Or what waits in a learner's hands over some long updates would count as poison."""
    pipeline = await pipeline_with(world, claim_idle_s=0.02)
    await pipeline.publish(trajectory(task()))
    slow = pipeline.consumer(Stream.RAW, "slow")
    held = await receive(slow, 1)
    for _ in range(5):
        assert await slow.receive(1) == []
    (pending,) = await pipeline.broker.client.xpending_range(
        pipeline.broker.keys.stream(Stream.RAW), "reward", "-", "+", 1
    )
    assert pending["times_delivered"] == 1
    await slow.release(held)
    assert len(await receive(slow, 1)) == 1, "what was given back may come again"


async def test_what_another_consumer_took_and_gave_back_comes_again(world: World) -> None:
    pipeline = await pipeline_with(world, claim_idle_s=0.02)
    await pipeline.publish(trajectory(task()))
    first, second = pipeline.consumer(Stream.RAW, "a"), pipeline.consumer(Stream.RAW, "b")
    await receive(first, 1)
    await second.release(await receive(second, 1))
    assert len(await receive(first, 1)) == 1


async def test_entries_deleted_in_the_hands_of_another_are_reported_when_claimed(world: World) -> None:
    pipeline = await pipeline_with(world, **IDLE)
    await pipeline.publish(trajectory(task(0)), trajectory(task(1)))
    first, second = await receive(pipeline.consumer(Stream.RAW, "gone"), 2)
    await pipeline.broker.client.xdel(pipeline.broker.keys.stream(Stream.RAW), first.entry_id)
    lost = counter("stream_deleted_while_pending_total").labels(stream=Stream.RAW.value)
    before = lost._value.get()
    (claimed,) = await receive(pipeline.consumer(Stream.RAW, "b"), 1)
    assert claimed.entry_id == second.entry_id
    assert lost._value.get() == before + 1


async def test_a_poison_entry_is_dead_lettered_and_the_others_flow(world: World) -> None:
    pipeline = await pipeline_with(world, max_deliveries=3)
    await pipeline.publish(trajectory(task(0)))
    for _ in range(3):
        assert len(await receive(pipeline.consumer(Stream.RAW), 1)) == 1
    await pipeline.publish(trajectory(task(1)))
    (next_one,) = await receive(pipeline.consumer(Stream.RAW), 1)
    assert next_one.trajectory().task.sample == 1
    (letter,) = await DeadLetters(pipeline.broker).list()
    assert (letter.trajectory_id, letter.deliveries) == (task(0).trajectory_id, 4)
    assert (await state(pipeline.broker)).counts.dead_lettered == 1


@pytest.mark.parametrize("field", ["p", "sha"])
async def test_a_damaged_entry_is_dead_lettered_on_sight(pipeline: Pipeline, field: str) -> None:
    broker = pipeline.broker
    entry = dict(zip(*[iter(pack(b"payload", id="x"))] * 2, strict=True))
    entry[field] = "damaged"
    await broker.client.xadd(broker.keys.stream(Stream.RAW), entry)  # type: ignore[arg-type]
    await broker.client.hincrby(broker.keys.counts, "published", 1)
    await pipeline.publish(trajectory(task()))
    (delivery,) = await receive(pipeline.consumer(Stream.RAW), 1)
    assert delivery.trajectory_id == task().trajectory_id
    (letter,) = await DeadLetters(broker).list()
    assert "checksum" in letter.error
    assert letter.trajectory_id == "x"


async def test_an_entry_of_the_future_stops_this_consumer_and_waits_for_an_upgraded_one(world: World) -> None:
    pipeline = await pipeline_with(world, max_deliveries=2)
    broker = pipeline.broker
    entry = dict(zip(*[iter(pack(b"new", id="x"))] * 2, strict=True)) | {"v": "2"}
    await broker.client.xadd(broker.keys.stream(Stream.RAW), entry)  # type: ignore[arg-type]
    for _ in range(5):
        with pytest.raises(FutureSchema, match="has schema 2"):
            await pipeline.consumer(Stream.RAW).receive(1)
    (pending,) = await broker.client.xpending_range(broker.keys.stream(Stream.RAW), "reward", "-", "+", 1)
    assert pending["times_delivered"] <= 1, "crash loops of an old consumer must not poison it for the new one"


async def test_entries_deleted_behind_our_back_are_reported_and_leave_a_gap(pipeline: Pipeline) -> None:
    await pipeline.publish(trajectory(task(0)), trajectory(task(1)))
    held = await receive(pipeline.consumer(Stream.RAW), 2)
    await pipeline.broker.client.xdel(pipeline.broker.keys.stream(Stream.RAW), held[0].entry_id)
    lost = counter("stream_deleted_while_pending_total").labels(stream=Stream.RAW.value)
    before = lost._value.get()
    (left,) = await receive(pipeline.consumer(Stream.RAW), 1)
    assert left.entry_id == held[1].entry_id
    assert lost._value.get() == before + 1
    assert (await snapshot(pipeline.broker)).gap == 1


async def test_only_tasks_are_acknowledged_by_themselves(pipeline: Pipeline) -> None:
    with pytest.raises(ValueError, match="hand-off"):
        await pipeline.consumer(Stream.RAW).ack(Delivery("0-1", b"", 1, {}))


async def test_a_cancelled_read_loses_nothing(world: World) -> None:
    pipeline = await pipeline_with(world, **IDLE)
    consumer: Consumer = pipeline.consumer(Stream.RAW)
    reading = asyncio.create_task(consumer.receive(1))
    await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await pipeline.publish(trajectory(task()))
    assert len(await receive(consumer, 1)) == 1
