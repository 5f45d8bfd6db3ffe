"""The janitor measures at one instant, closes what is due, and forgets only consumers that hold nothing."""

import asyncio

import pytest
from stream_world import Pipeline, ServerWorld, World, eventually, receive, state, task, trajectory

from hiper.metrics import gauge
from hiper.streams import Janitor, vitals
from hiper.vocabulary import Stream


async def test_every_stage_is_measured(pipeline: Pipeline) -> None:
    await pipeline.issue(*(task(n, size=4) for n in range(4)))
    await receive(pipeline.consumer(Stream.TASKS), 3)
    await pipeline.publish(*(trajectory(task(n, size=4)) for n in range(4)))
    await pipeline.score(2)
    await pipeline.publish(trajectory(task(0, batch="whole", size=1)))
    raw = await receive(pipeline.consumer(Stream.RAW), 3)
    await pipeline.batches.add_member(raw[-1], raw[-1].trajectory())
    measured = await state(pipeline.broker)
    tasks, scored = measured.streams[Stream.TASKS], measured.streams[Stream.SCORED]
    assert (tasks.length, tasks.pending, tasks.lag) == (4, 3, 1)
    assert (measured.streams[Stream.RAW].length, measured.streams[Stream.RAW].lag) == (2, 0)
    assert (scored.length, scored.pending, scored.oldest_pending_age_s) == (1, 0, 0.0)
    assert (measured.open_batches, measured.ready_batches, measured.waiting_members) == (1, 1, 3)
    assert (measured.in_flight, measured.gap) == (5, 0)
    assert abs(measured.at_ms - await pipeline.broker.server_time_ms()) < 60_000


async def test_the_age_of_a_pending_entry_grows(pipeline: Pipeline) -> None:
    await pipeline.publish(trajectory(task()))
    await receive(pipeline.consumer(Stream.RAW), 1)

    async def is_old() -> bool:
        return (await state(pipeline.broker)).streams[Stream.RAW].oldest_pending_age_s >= 0.05

    await eventually(is_old)


async def test_a_measurement_while_batches_come_and_go_is_consistent(pipeline: Pipeline) -> None:
    """The law is checked at every instant, not only at rest."""

    async def work() -> None:
        for n in range(40):
            await pipeline.publish(trajectory(task(0, batch=f"b{n}")), trajectory(task(1, batch=f"b{n}")))
            await pipeline.score(2)
            await pipeline.advance()

    working = asyncio.create_task(work())
    measured = [await state(pipeline.broker)]
    while not working.done():
        measured.append(await state(pipeline.broker))
    await working
    assert len({m.in_flight for m in measured}) > 2, "nothing moved between the measurements"


async def test_a_round_closes_what_is_due_and_exports_what_it_saw(world: World) -> None:
    pipeline = await Pipeline.create(world, group_timeout_s=0.01)
    janitor = Janitor(pipeline.broker, pipeline.batches)
    await pipeline.publish(trajectory(task(0)))
    await pipeline.score(1)

    async def closed() -> bool:
        return (await janitor.tidy()).ready_batches == 1

    await eventually(closed)
    assert gauge("stream_in_flight")._value.get() == 1
    assert gauge("stream_conservation_gap")._value.get() == 0
    assert gauge("stream_lag_entries").labels(stream="traj.scored", group="hae")._value.get() == 1


async def test_it_goes_on_until_it_is_cancelled(world: World) -> None:
    pipeline = await Pipeline.create(world, group_timeout_s=0.01)
    keeping = asyncio.create_task(Janitor(pipeline.broker, pipeline.batches, interval_s=0.01).run())
    await pipeline.publish(trajectory(task(0)))
    await pipeline.score(1)
    assert await pipeline.advance() == ["train-000000"]
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


async def test_a_batch_that_is_not_due_is_not_closed_by_a_janitor_that_is_wrong(pipeline: Pipeline) -> None:
    await pipeline.publish(trajectory(task(0)))
    await pipeline.score(1)
    keys = pipeline.broker.keys
    names = [keys.members("train-000000"), keys.closed("train-000000"), keys.due, keys.stream(Stream.SCORED)]
    assert await pipeline.broker.script("expire_batch", names, "train-000000", 1, 1000) == 0
    assert (await state(pipeline.broker)).open_batches == 1


async def test_the_ids_of_a_batch_are_forgotten_some_time_after_it_was_handed_off(pipeline: Pipeline) -> None:
    issued = pipeline.broker.keys.issued("train-000000")
    await pipeline.issue(task(size=1))
    await pipeline.publish(trajectory(task(size=1)))
    await pipeline.score(1)
    assert await pipeline.broker.client.pttl(issued) == -1
    await pipeline.advance()
    assert 0 < await pipeline.broker.client.pttl(issued) <= pipeline.broker.settings.dedup_ttl_s * 1000
    assert await pipeline.issue(task(size=1)) == 0


async def test_consumers_that_are_gone_and_hold_nothing_are_forgotten(pipeline: Pipeline) -> None:
    await pipeline.publish(trajectory(task()))
    await receive(pipeline.consumer(Stream.RAW, "holds"), 1)
    await pipeline.consumer(Stream.RAW, "holds-nothing").receive(1)
    janitor = Janitor(pipeline.broker, pipeline.batches)
    assert await janitor.remove_gone_consumers() == 0

    async def forgotten() -> bool:
        return await janitor.remove_gone_consumers(idle_s=0.01) == 1

    await eventually(forgotten)
    consumers = await pipeline.broker.client.xinfo_consumers(pipeline.broker.keys.stream(Stream.RAW), "reward")
    assert [consumer["name"] for consumer in consumers] == [b"holds"]
    assert (await state(pipeline.broker)).in_flight == 1


async def test_a_round_measures_the_server_and_what_became_of_every_trajectory(server_world: ServerWorld) -> None:
    pipeline = await Pipeline.create(server_world)
    await pipeline.publish(trajectory(task(0)), trajectory(task(1)))
    await Janitor(pipeline.broker, pipeline.batches).tidy()
    assert gauge("broker_memory_bytes")._value.get() > 100_000
    assert gauge("broker_aof_bytes")._value.get() > 0
    assert gauge("broker_persistence_ok")._value.get() == 1
    assert gauge("broker_evicted_keys")._value.get() == 0
    assert gauge("stream_trajectories").labels(state="published")._value.get() == 2
    assert gauge("stream_dropped_trajectories").labels(reason="late")._value.get() == 0


def test_a_log_that_cannot_be_written_is_seen() -> None:
    vitals.export({"aof_last_write_status": "err", "aof_last_bgrewrite_status": "ok", "maxmemory": 7})
    assert gauge("broker_persistence_ok")._value.get() == 0
    assert gauge("broker_memory_max_bytes")._value.get() == 7
