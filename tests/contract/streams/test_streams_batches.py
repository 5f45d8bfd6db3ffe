"""P3, P4, P5: members come together, batches close once and are handed on whole."""

import time

import pytest
from stream_world import Pipeline, ServerWorld, World, eventually, receive, state, task, trajectory

from hiper._proto.trajectory.v1.trajectory_pb2 import BatchReady
from hiper.errors import BrokerError
from hiper.streams import Batches
from hiper.vocabulary import DropReason, Stream


async def test_the_last_member_closes_the_batch(pipeline: Pipeline) -> None:
    await pipeline.publish(trajectory(task(1)), trajectory(task(0)))
    assert await pipeline.score(2) == ["added", "completed"]
    (delivery,) = await receive(pipeline.consumer(Stream.SCORED), 1)
    ready = delivery.batch_ready()
    assert ready == BatchReady(schema_version=1, batch_id="train-000000", members=2, expected=2)
    assert [m.task.sample for m in await pipeline.batches.members(ready.batch_id)] == [0, 1]
    measured = await state(pipeline.broker)
    assert (measured.in_flight, measured.open_batches, measured.ready_batches) == (2, 0, 1)


async def test_members_of_a_large_batch_come_in_the_order_of_their_ids(pipeline: Pipeline) -> None:
    await pipeline.publish(*(trajectory(task(n, size=200)) for n in range(200)))
    assert (await pipeline.score(200)).count("completed") == 1
    (delivery,) = await receive(pipeline.consumer(Stream.SCORED), 1)
    assert delivery.batch_ready().members == 200, "the varint of `members` takes two bytes here"
    members = await pipeline.batches.members("train-000000")
    ids = [m.task.trajectory_id for m in members]
    assert len(set(ids)) == 200
    assert ids == sorted(ids)


async def test_an_entry_joins_its_batch_once(pipeline: Pipeline) -> None:
    await pipeline.publish(trajectory(task(0)))
    (delivery,) = await receive(pipeline.consumer(Stream.RAW), 1)
    assert await pipeline.batches.add_member(delivery, delivery.trajectory()) == "added"
    assert await pipeline.batches.add_member(delivery, delivery.trajectory()) == "fenced"
    measured = await state(pipeline.broker)
    assert measured.waiting_members == 1
    assert measured.counts.fenced == 1


async def test_a_hand_off_passes_one_entry_per_member_once(pipeline: Pipeline) -> None:
    await pipeline.publish(trajectory(task(0)), trajectory(task(1)))
    await pipeline.score(2)
    (delivery,) = await receive(pipeline.consumer(Stream.SCORED), 1)
    members = await pipeline.batches.members("train-000000")
    assert await pipeline.batches.hand_off(delivery, delivery.batch_ready(), members)
    assert not await pipeline.batches.hand_off(delivery, delivery.batch_ready(), members)
    entries = await receive(pipeline.consumer(Stream.ADVANTAGES), 2)
    assert [entry.trajectory_id for entry in entries] == [m.task.trajectory_id for m in members]
    assert {(entry.batch_id, entry.members, entry.expected) for entry in entries} == {("train-000000", 2, 2)}
    assert entries[0].trajectory() == members[0]
    measured = await state(pipeline.broker)
    assert (measured.in_flight, measured.ready_batches, measured.streams[Stream.SCORED].length) == (2, 0, 0)


async def test_a_hand_off_must_account_for_every_member(pipeline: Pipeline) -> None:
    await pipeline.publish(trajectory(task(0)), trajectory(task(1)))
    await pipeline.score(2)
    (delivery,) = await receive(pipeline.consumer(Stream.SCORED), 1)
    ready, members = delivery.batch_ready(), await pipeline.batches.members("train-000000")
    with pytest.raises(BrokerError, match="has 2 members, not 1"):
        await pipeline.batches.hand_off(delivery, ready, members[:1])
    assert (await state(pipeline.broker)).waiting_members == 2
    dropped = {members[1].task.trajectory_id: DropReason.INVALID}
    assert await pipeline.batches.hand_off(delivery, ready, members[:1], dropped)
    measured = await state(pipeline.broker)
    assert measured.in_flight == 1
    assert measured.counts.dropped == {"invalid": 1}


async def test_an_abandoned_member_completes_its_batch_and_is_left_out(pipeline: Pipeline) -> None:
    await pipeline.publish(trajectory(task(0)), trajectory(task(1), abandoned="engine"))
    assert await pipeline.score(2) == ["added", "completed"]
    assert [m.task.sample for m in await pipeline.batches.members("train-000000")] == [0]
    measured = await state(pipeline.broker)
    assert (measured.in_flight, measured.counts.dropped) == (1, {"abandoned": 1})
    assert await pipeline.advance() == ["train-000000"]
    (entry,) = await receive(pipeline.consumer(Stream.ADVANTAGES), 1)
    assert (entry.members, entry.expected) == (1, 2)


async def test_a_batch_of_abandoned_members_reaches_the_learner_as_one_marker(pipeline: Pipeline) -> None:
    await pipeline.publish(trajectory(task(0), abandoned="engine"), trajectory(task(1), abandoned="engine"))
    await pipeline.score(2)
    assert await pipeline.advance() == ["train-000000"]
    (entry,) = await receive(pipeline.consumer(Stream.ADVANTAGES), 1)
    assert (entry.batch_id, entry.members, entry.expected, entry.payload) == ("train-000000", 0, 2, b"")
    measured = await state(pipeline.broker)
    assert (measured.in_flight, measured.counts.terminal) == (0, 2)


async def test_a_batch_whose_time_is_up_goes_on_with_what_it_has(world: World) -> None:
    pipeline = await Pipeline.create(world, group_timeout_s=0.05)
    await pipeline.publish(trajectory(task(0)))
    assert await pipeline.score(1) == ["added"]

    async def expired() -> bool:
        return await pipeline.batches.expire_due() == 1

    await eventually(expired)
    assert await pipeline.batches.expire_due() == 0
    (delivery,) = await receive(pipeline.consumer(Stream.SCORED), 1)
    ready = delivery.batch_ready()
    assert (ready.members, ready.expected) == (1, 2)

    await pipeline.publish(trajectory(task(1)))
    assert await pipeline.score(1) == ["late"]
    measured = await state(pipeline.broker)
    assert (measured.counts.late, measured.waiting_members) == (1, 1)


async def test_a_batch_keeps_its_time(pipeline: Pipeline) -> None:
    await pipeline.publish(trajectory(task(0)))
    await pipeline.score(1)
    assert await pipeline.batches.expire_due() == 0
    assert (await state(pipeline.broker)).open_batches == 1


@pytest.mark.parametrize("off_s", [-3600.0, 3600.0])
async def test_the_clock_of_a_process_decides_nothing(
    server_world: ServerWorld, monkeypatch: pytest.MonkeyPatch, off_s: float
) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + off_s)
    pipeline = await Pipeline.create(server_world, group_timeout_s=30.0)
    for sample in (0, 1):
        await pipeline.publish(trajectory(task(sample)))
        monkeypatch.setattr(time, "time", real)  # the second one comes from a process whose clock is right
    assert await pipeline.score(1) == ["added"]
    assert await pipeline.batches.expire_due() == 0, "the deadline is by the broker's clock"
    assert await pipeline.score(1) == ["completed"]
    (ready,) = await receive(pipeline.consumer(Stream.SCORED), 1)
    entered_s = int(ready.entry_id.partition("-")[0]) / 1000
    assert abs(entered_s - real()) < 60, "and so are the ids"


async def test_two_expiring_janitors_close_a_batch_once(world: World) -> None:
    pipeline = await Pipeline.create(world, group_timeout_s=0.001)
    await pipeline.publish(trajectory(task(0)))
    await pipeline.score(1)
    other = Batches(await world.broker("other"), 0.001)

    async def expired() -> bool:
        return await pipeline.batches.expire_due() + await other.expire_due() == 1

    await eventually(expired)
    assert (await state(pipeline.broker)).streams[Stream.SCORED].length == 1


async def test_a_second_publish_after_the_dedup_key_expired_is_counted_once(world: World) -> None:
    pipeline = await Pipeline.create(world)
    broker = pipeline.broker
    await pipeline.publish(trajectory(task(0)))
    await broker.client.delete(broker.keys.dedup(task(0).trajectory_id))
    await pipeline.publish(trajectory(task(0)))
    assert await pipeline.score(2) == ["added", "fenced"]
    measured = await state(broker)
    assert (measured.counts.published, measured.counts.deduplicated, measured.in_flight) == (1, 1, 1)


async def test_members_of_a_batch_handed_off_meanwhile_are_none(pipeline: Pipeline) -> None:
    await pipeline.publish(trajectory(task(0, size=1)))
    await pipeline.score(1)
    await pipeline.advance()
    assert await pipeline.batches.members("train-000000") == []
