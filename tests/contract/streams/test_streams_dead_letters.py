"""P6 and its inverse: dead letters keep everything, and the conservation law holds at every step."""

import pytest
from stream_world import Pipeline, receive, state, task, trajectory

from hiper.errors import HiperError
from hiper.streams import DeadLetters
from hiper.vocabulary import Stream


async def test_a_trajectory_goes_and_comes_back(pipeline: Pipeline) -> None:
    letters, consumer = DeadLetters(pipeline.broker), pipeline.consumer(Stream.RAW)
    await pipeline.publish(trajectory(task(size=1), note="kept"))
    (delivery,) = await receive(consumer, 1)
    assert await consumer.dead_letter(delivery, "cannot be scored")
    assert not await consumer.dead_letter(delivery, "cannot be scored")
    measured = await state(pipeline.broker)
    assert (measured.counts.dead_lettered, measured.in_flight, measured.dead_letters) == (1, 0, 1)

    (letter,) = await letters.list()
    assert (letter.stream, letter.source_id, letter.kind, letter.weight) == (
        Stream.RAW,
        delivery.entry_id,
        "trajectory",
        1,
    )
    assert (letter.error, letter.deliveries, letter.batch_id) == ("cannot be scored", 1, "train-000000")
    assert letter.fields == delivery.fields
    assert await letters.show(letter.entry_id) == letter
    assert abs(letter.at_ms - await pipeline.broker.server_time_ms()) < 60_000

    assert await letters.replay(letter.entry_id)
    measured = await state(pipeline.broker)
    assert (measured.counts.dead_lettered, measured.in_flight, measured.dead_letters) == (0, 1, 0)
    (again,) = await receive(consumer, 1)
    assert (again.fields, again.deliveries) == (delivery.fields, 1)


async def test_purging_counts_a_drop(pipeline: Pipeline) -> None:
    letters, consumer = DeadLetters(pipeline.broker), pipeline.consumer(Stream.RAW)
    await pipeline.publish(trajectory(task()))
    await consumer.dead_letter((await receive(consumer, 1))[0], "no")
    (letter,) = await letters.list()
    assert await letters.purge(letter.entry_id)
    with pytest.raises(HiperError, match="there is no dead letter"):
        await letters.purge(letter.entry_id)
    measured = await state(pipeline.broker)
    assert (measured.counts.dead_lettered, measured.counts.dropped) == (0, {"purged": 1})


async def test_a_batch_takes_its_members_along_and_brings_them_back(pipeline: Pipeline) -> None:
    letters, consumer = DeadLetters(pipeline.broker), pipeline.consumer(Stream.SCORED)
    await pipeline.publish(trajectory(task(0)), trajectory(task(1)))
    await pipeline.score(2)
    await consumer.dead_letter((await receive(consumer, 1))[0], "no values")
    measured = await state(pipeline.broker)
    assert (measured.counts.dead_lettered, measured.waiting_members, measured.ready_batches) == (2, 0, 0)
    (letter,) = await letters.list()
    assert (letter.kind, letter.weight, letter.batch_id) == ("batch", 2, "train-000000")
    assert await letters.replay(letter.entry_id)
    assert (await state(pipeline.broker)).waiting_members == 2
    assert await pipeline.advance() == ["train-000000"]
    assert len(await receive(pipeline.consumer(Stream.ADVANTAGES), 2)) == 2


async def test_a_purged_batch_leaves_nothing_behind(pipeline: Pipeline) -> None:
    letters, consumer, broker = DeadLetters(pipeline.broker), pipeline.consumer(Stream.SCORED), pipeline.broker
    await pipeline.publish(trajectory(task(0)), trajectory(task(1)))
    await pipeline.score(2)
    await consumer.dead_letter((await receive(consumer, 1))[0], "no values")
    assert await letters.purge((await letters.list())[0].entry_id)
    assert (await state(broker)).counts.dropped == {"purged": 2}
    assert not await broker.client.exists(broker.keys.set_aside("train-000000"), broker.keys.members("train-000000"))


async def test_a_task_counts_for_no_trajectory(pipeline: Pipeline) -> None:
    letters, consumer = DeadLetters(pipeline.broker), pipeline.consumer(Stream.TASKS)
    await pipeline.issue(task())
    await consumer.dead_letter((await receive(consumer, 1))[0], "no such game")
    counts = (await state(pipeline.broker)).counts
    assert (counts.dead_lettered, counts.tasks_dead_lettered) == (0, 1)
    await letters.replay((await letters.list())[0].entry_id)
    (again,) = await receive(consumer, 1)
    assert again.task() == task()
    assert (await state(pipeline.broker)).counts.tasks_dead_lettered == 0


async def test_a_marker_counts_for_no_trajectory(pipeline: Pipeline) -> None:
    letters, consumer = DeadLetters(pipeline.broker), pipeline.consumer(Stream.ADVANTAGES)
    await pipeline.publish(trajectory(task(size=1), abandoned="engine"))
    await pipeline.score(1)
    await pipeline.advance()
    await consumer.dead_letter((await receive(consumer, 1))[0], "?")
    assert (await state(pipeline.broker)).counts.dead_lettered == 0
    await letters.replay((await letters.list())[0].entry_id)
    assert (await state(pipeline.broker)).counts.markers == 1


async def test_a_long_list_is_read_in_pages(pipeline: Pipeline) -> None:
    letters, consumer = DeadLetters(pipeline.broker), pipeline.consumer(Stream.RAW)
    await pipeline.publish(*(trajectory(task(n)) for n in range(5)))
    for delivery in await receive(consumer, 5):
        await consumer.dead_letter(delivery, "no")
    first = await letters.list(limit=3)
    second = await letters.list(limit=3, after=first[-1].entry_id)
    assert [letter.trajectory_id for letter in [*first, *second]] == [task(n).trajectory_id for n in range(5)]


async def test_an_unknown_dead_letter_is_named(pipeline: Pipeline) -> None:
    with pytest.raises(HiperError, match="there is no dead letter 1-1 in run test"):
        await DeadLetters(pipeline.broker).replay("1-1")
