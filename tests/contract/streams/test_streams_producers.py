"""P1 and P9: tasks are issued once, trajectories published once, also when the broker is full."""

import pytest
from stream_world import Pipeline, ServerWorld, World, receive, state, task, trajectory

from hiper._proto.trajectory.v1.trajectory_pb2 import Turn
from hiper.errors import IntegrityError
from hiper.streams import MAX_ENTRY_BYTES, Broker, BrokerFull, Publisher, TaskQueue
from hiper.vocabulary import Stream


async def test_issuing_again_adds_only_what_is_missing(pipeline: Pipeline) -> None:
    queue = TaskQueue(pipeline.broker)
    assert await queue.issue([task(0), task(1)]) == 2
    assert await queue.issue([task(1), task(2), task(0, batch="eval-000000")]) == 2
    deliveries = await receive(pipeline.consumer(Stream.TASKS), 4)
    assert [d.task() for d in deliveries] == [task(0), task(1), task(2), task(0, batch="eval-000000")]
    assert (await state(pipeline.broker)).counts.tasks_issued == 4


async def test_more_tasks_than_one_script_takes(pipeline: Pipeline) -> None:
    tasks = [task(n, size=1200) for n in range(1200)]
    assert await TaskQueue(pipeline.broker).issue(tasks) == 1200
    assert await TaskQueue(pipeline.broker).issue(tasks) == 0
    assert (await state(pipeline.broker)).streams[Stream.TASKS].lag == 1200


async def test_a_trajectory_is_published_once_and_the_first_wins(pipeline: Pipeline) -> None:
    publisher = Publisher(pipeline.broker)
    assert not await publisher.is_published(task().trajectory_id)
    assert await publisher.publish(trajectory(task(), note="first"))
    assert not await publisher.publish(trajectory(task(), note="second"))
    assert await publisher.is_published(task().trajectory_id)
    (delivery,) = await receive(pipeline.consumer(Stream.RAW), 1)
    assert delivery.trajectory().turns[0].action == "first"
    assert "traceparent" not in delivery.fields
    measured = await state(pipeline.broker)
    assert (measured.counts.published, measured.counts.deduplicated) == (1, 1)


async def test_the_id_of_a_published_trajectory_is_forgotten_after_its_time(world: World) -> None:
    broker = await world.broker(dedup_ttl_s=1000.0)
    await Publisher(broker).publish(trajectory(task()))
    remaining_ms = await broker.client.pttl(broker.keys.dedup(task().trajectory_id))
    assert 0 < remaining_ms <= 1_000_000


async def test_a_claimed_task_that_was_published_needs_no_work(pipeline: Pipeline) -> None:
    await pipeline.issue(task())
    (delivery,) = await receive(pipeline.consumer(Stream.TASKS), 1)
    await pipeline.publish(trajectory(task()))
    consumer = pipeline.consumer(Stream.TASKS, "b")
    assert await Publisher(pipeline.broker).is_published(delivery.trajectory_id)
    assert await consumer.ack(delivery, deduplicated=True)
    assert not await pipeline.consumer(Stream.TASKS).ack(delivery)
    counts = (await state(pipeline.broker)).counts
    assert (counts.tasks_done, counts.deduplicated, counts.fenced) == (1, 1, 1)


async def test_a_trajectory_too_large_for_an_entry_is_refused_by_name(pipeline: Pipeline) -> None:
    huge = trajectory(task())
    huge.turns.append(Turn(observation="x" * MAX_ENTRY_BYTES))
    with pytest.raises(IntegrityError, match=task().trajectory_id):
        await Publisher(pipeline.broker).publish(huge)
    assert (await state(pipeline.broker)).counts.published == 0


async def fill(broker: Broker) -> None:
    """Take the server's memory down to what is in use."""
    await broker.client.config_set("maxmemory", 1)


async def test_a_full_broker_refuses_the_publish_whole(server_world: ServerWorld) -> None:
    pipeline = await Pipeline.create(server_world)
    await pipeline.publish(trajectory(task(0)))
    await fill(pipeline.broker)
    with pytest.raises(BrokerFull, match="is full"):
        await Publisher(pipeline.broker).publish(trajectory(task(1)))
    measured = await state(pipeline.broker)
    assert measured.counts.published == 1
    assert not await Publisher(pipeline.broker).is_published(task(1).trajectory_id)
    await pipeline.broker.client.config_set("maxmemory", 0)
    assert await Publisher(pipeline.broker).publish(trajectory(task(1)))


async def test_a_full_broker_drains(server_world: ServerWorld) -> None:
    pipeline = await Pipeline.create(server_world)
    """Everything behind the publish goes on, the learner's start included."""
    from hiper.streams import LearnerLease, PolicyBoard, apply_ack

    await pipeline.publish(trajectory(task(0)), trajectory(task(1)), trajectory(task(0, batch="bad", size=1)))
    await fill(pipeline.broker)
    lease = LearnerLease(pipeline.broker, 5.0)
    await lease.acquire()
    *good, bad = await receive(pipeline.consumer(Stream.RAW), 3)
    await pipeline.consumer(Stream.RAW).heartbeat(good)
    await pipeline.consumer(Stream.RAW).dead_letter(bad, "no reason")
    for delivery in good:
        await pipeline.batches.add_member(delivery, delivery.trajectory())
    await pipeline.advance()
    entries = await receive(pipeline.consumer(Stream.ADVANTAGES), 2)
    assert await apply_ack(pipeline.broker, lease, {e.entry_id: "applied" for e in entries}) == 2
    assert await PolicyBoard(pipeline.broker).publish(1, "file:///w", "00", lease.generation)
    assert await TaskQueue(pipeline.broker).issue([task(0, batch="next")]) == 1
    measured = await state(pipeline.broker)
    assert (measured.in_flight, measured.counts.applied, measured.dead_letters) == (0, 2, 1)
