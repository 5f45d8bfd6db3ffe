"""P7 and P8: one learner at a time, fenced acknowledgements, a policy that never goes back."""

import pytest
from stream_world import Pipeline, World, eventually, receive, state, task, trajectory

from hiper.errors import RunStateError
from hiper.streams import LearnerLease, LeaseLost, PolicyBoard, PublishedPolicy, Verdict, apply_ack
from hiper.vocabulary import DropReason, Stream


async def delivered(pipeline: Pipeline, number: int = 2) -> list[str]:
    """Ids of `number` entries in traj.adv, delivered to the learner."""
    await pipeline.publish(*(trajectory(task(n, size=number)) for n in range(number)))
    await pipeline.score(number)
    await pipeline.advance()
    return [d.entry_id for d in await receive(pipeline.consumer(Stream.ADVANTAGES), number)]


async def test_a_run_has_one_learner(pipeline: Pipeline) -> None:
    first, second = LearnerLease(pipeline.broker, 5.0), LearnerLease(pipeline.broker, 5.0)
    assert await first.acquire() == 1
    with pytest.raises(RunStateError, match="another learner of run test is alive"):
        await second.acquire(wait_s=0.0)
    await first.release()
    assert await second.acquire(wait_s=0.0) == 2
    with pytest.raises(LeaseLost):
        await first.renew()


async def test_a_successor_waits_for_the_lease_of_a_killed_learner_to_run_out(pipeline: Pipeline) -> None:
    await LearnerLease(pipeline.broker, 0.2).acquire()
    assert await LearnerLease(pipeline.broker, 0.2).acquire() == 2


async def test_a_lease_not_acquired_has_no_generation(pipeline: Pipeline) -> None:
    with pytest.raises(RunStateError):
        _ = LearnerLease(pipeline.broker, 5.0).generation


async def test_a_lease_that_ran_out_is_taken_up_again_if_nobody_came(pipeline: Pipeline) -> None:
    lease, broker = LearnerLease(pipeline.broker, 0.05), pipeline.broker
    await lease.acquire()

    async def ran_out() -> bool:
        return not await broker.client.exists(broker.keys.lease)

    await eventually(ran_out)
    await lease.renew()
    assert await broker.client.exists(broker.keys.lease)


async def test_keeping_a_lease_ends_when_it_is_lost(pipeline: Pipeline) -> None:
    lease, broker = LearnerLease(pipeline.broker, 0.05), pipeline.broker
    await lease.acquire()
    await broker.client.incr(broker.keys.generation)
    with pytest.raises(LeaseLost):
        await lease.keep()


async def test_every_entry_is_counted_once_by_its_verdict(pipeline: Pipeline) -> None:
    lease = LearnerLease(pipeline.broker, 5.0)
    await lease.acquire()
    first, second, third = await delivered(pipeline, 3)
    verdicts: dict[str, Verdict] = {first: "applied", second: DropReason.STALE, third: DropReason.INVALID}
    assert await apply_ack(pipeline.broker, lease, verdicts) == 3
    assert await apply_ack(pipeline.broker, lease, verdicts) == 0
    measured = await state(pipeline.broker)
    assert (measured.counts.applied, measured.counts.dropped, measured.in_flight) == (1, {"stale": 1, "invalid": 1}, 0)
    assert measured.streams[Stream.ADVANTAGES].length == 0


async def test_acknowledging_a_marker_counts_no_trajectory(pipeline: Pipeline) -> None:
    lease = LearnerLease(pipeline.broker, 5.0)
    await lease.acquire()
    await pipeline.publish(trajectory(task(size=1), abandoned="engine"))
    await pipeline.score(1)
    await pipeline.advance()
    (marker,) = await receive(pipeline.consumer(Stream.ADVANTAGES), 1)
    await state(pipeline.broker)
    assert await apply_ack(pipeline.broker, lease, {marker.entry_id: "empty"}) == 1
    measured = await state(pipeline.broker)
    assert (measured.counts.applied, measured.counts.markers, measured.in_flight) == (0, 0, 0)


async def test_a_replaced_learner_acknowledges_nothing(pipeline: Pipeline) -> None:
    zombie, successor = LearnerLease(pipeline.broker, 5.0), LearnerLease(pipeline.broker, 5.0)
    await zombie.acquire()
    (entry,) = await delivered(pipeline, 1)
    await pipeline.broker.client.delete(pipeline.broker.keys.lease)
    await successor.acquire()
    with pytest.raises(LeaseLost, match="from generation 1"):
        await apply_ack(pipeline.broker, zombie, {entry: "applied"})
    assert (await state(pipeline.broker)).in_flight == 1
    assert await apply_ack(pipeline.broker, successor, {entry: "applied"}) == 1


async def test_more_acknowledgements_than_one_script_takes(pipeline: Pipeline) -> None:
    lease = LearnerLease(pipeline.broker, 5.0)
    await lease.acquire()
    (entry,) = await delivered(pipeline, 1)
    verdicts: dict[str, Verdict] = {f"1-{n}": "applied" for n in range(2500)}
    assert await apply_ack(pipeline.broker, lease, verdicts | {entry: "applied"}) == 1
    assert (await state(pipeline.broker)).counts.applied == 1


async def test_the_policy_never_goes_back_within_a_generation(pipeline: Pipeline) -> None:
    board, lease = PolicyBoard(pipeline.broker), LearnerLease(pipeline.broker, 5.0)
    assert await board.read() is None
    generation = await lease.acquire()
    assert await board.publish(2, "file:///v2", "aa", generation)
    assert await board.publish(2, "file:///v2", "aa", generation)
    assert not await board.publish(1, "file:///v1", "bb", generation)
    assert await board.read() == PublishedPolicy(2, "file:///v2", "aa", generation)


async def test_a_new_learner_may_publish_an_older_version_and_the_old_one_nothing(world: World) -> None:
    pipeline = await Pipeline.create(world)
    board, old, new = (
        PolicyBoard(pipeline.broker),
        LearnerLease(pipeline.broker, 5.0),
        LearnerLease(pipeline.broker, 5.0),
    )
    await old.acquire()
    await board.publish(7, "file:///v7", "aa", old.generation)
    await old.release()
    await new.acquire()
    assert await board.publish(5, "file:///v5", "bb", new.generation)
    with pytest.raises(LeaseLost):
        await board.publish(8, "file:///v8", "cc", old.generation)
    assert await board.read() == PublishedPolicy(5, "file:///v5", "bb", 2)
