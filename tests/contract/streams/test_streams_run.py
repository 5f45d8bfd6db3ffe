"""Connecting, the checks of a server, the epoch, and what happens when a server goes away or comes back empty."""

import asyncio
import signal
import time

import pytest
from pydantic import SecretStr
from stream_world import RUN, Pipeline, ServerWorld, World, eventually, receive, state, task, trajectory

from hiper.config.sections import BrokerSettings
from hiper.errors import BrokerError, ExitCode, RunStateError
from hiper.metrics import gauge
from hiper.streams import Broker, BrokerLost, Publisher, TaskQueue, snapshot
from hiper.vocabulary import Stream


async def test_a_run_is_created_once(world: World) -> None:
    first = await world.broker("learner")
    epoch = first.epoch
    assert await first.create_run() == epoch
    assert (await world.broker("up")).epoch == epoch


async def test_joining_waits_for_the_run(world: World) -> None:
    broker = await world.connect("reward-0")
    world.brokers.append(broker)
    joining = asyncio.create_task(broker.join_run(10.0))
    await asyncio.sleep(0)
    epoch = (await world.broker("learner")).epoch
    assert await joining == epoch == broker.epoch


async def test_joining_a_run_that_never_comes_is_an_error_that_names_it(world: World) -> None:
    async with await world.connect("reward-0") as broker:
        with pytest.raises(BrokerError, match="run test does not exist") as caught:
            await broker.join_run(0.05)
        assert caught.value.exit_code == ExitCode.DEPENDENCY
        with pytest.raises(RunStateError, match="was not joined"):
            await snapshot(broker)


async def test_runs_do_not_see_each_other(world: World) -> None:
    pipeline = await Pipeline.create(world)
    await pipeline.publish(trajectory(task()))
    async with await world.connect("x", run="other") as other:
        await other.create_run()
        assert (await state(other)).counts.published == 0


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("maxmemory-policy", "allkeys-lru", "maxmemory-policy is allkeys-lru"),
        ("appendonly", "no", "no append-only file"),
    ],
)
async def test_a_server_that_may_lose_entries_is_refused(
    server_world: ServerWorld, setting: str, value: str, message: str
) -> None:
    broker = await server_world.broker()
    await broker.client.config_set(setting, value)
    with pytest.raises(BrokerError, match=message) as caught:
        await server_world.connect("x")
    assert setting in caught.value.hint
    assert server_world.launch.url.get_secret_value() not in str(caught.value)
    async with await Broker.connect(server_world.settings.model_copy(update={"assume_settings": True}), RUN, "x"):
        pass


async def test_data_loss_may_be_allowed_on_purpose(server_world: ServerWorld) -> None:
    broker = await server_world.broker()
    await broker.client.config_set("appendonly", "no")
    async with await Broker.connect(server_world.settings.model_copy(update={"allow_data_loss": True}), RUN, "x"):
        pass


async def test_a_wrong_password_is_one_clear_error_at_once(server_world: ServerWorld) -> None:
    url = SecretStr(server_world.launch.url.get_secret_value().replace("redis://:", "redis://:not-"))
    start = time.monotonic()
    with pytest.raises(BrokerError, match="refused INFO") as caught:
        await Broker.connect(server_world.settings.model_copy(update={"url": url}), RUN, "x")
    assert time.monotonic() - start < server_world.settings.unavailable_timeout_s
    assert "not-" not in str(caught.value)


async def test_flushed_data_stops_every_part(world: World) -> None:
    pipeline = await Pipeline.create(world)
    broker = pipeline.broker
    await pipeline.publish(trajectory(task()))
    waiting = asyncio.create_task(receive(pipeline.consumer(Stream.TASKS), 1))
    consumer = pipeline.consumer(Stream.RAW)
    await receive(consumer, 1)
    await broker.client.flushall()
    with pytest.raises(BrokerLost, match="lost the data of run test"):
        await waiting
    with pytest.raises(BrokerLost):
        await consumer.receive(1)
    with pytest.raises(BrokerLost):
        await Publisher(broker).publish(trajectory(task(1)))
    with pytest.raises(BrokerLost):
        await TaskQueue(broker).issue([task(1)])
    with pytest.raises(BrokerLost):
        await broker.check_epoch()
    assert await broker.client.dbsize() == 0, "nothing was begun anew"


async def test_a_run_begun_anew_under_the_same_name_is_not_joined_by_mistake(world: World) -> None:
    pipeline = await Pipeline.create(world)
    await pipeline.broker.client.flushall()
    new = await world.broker("up")
    assert new.epoch != pipeline.broker.epoch
    with pytest.raises(BrokerLost, match=f"has epoch {new.epoch}"):
        await Publisher(pipeline.broker).publish(trajectory(task()))
    assert (await state(new)).counts.published == 0


async def test_a_deleted_group_is_an_error_and_not_made_again(world: World) -> None:
    pipeline = await Pipeline.create(world)
    await pipeline.broker.client.xgroup_destroy(pipeline.broker.keys.stream(Stream.RAW), "reward")
    with pytest.raises(BrokerError, match="NOGROUP"):
        await pipeline.consumer(Stream.RAW).receive(1)


async def test_scripts_are_loaded_again_where_the_cache_is_empty(world: World) -> None:
    pipeline = await Pipeline.create(world)
    await pipeline.publish(trajectory(task(0)))
    await pipeline.broker.client.script_flush()
    await pipeline.publish(trajectory(task(1)))
    assert (await state(pipeline.broker)).counts.published == 2


async def test_a_publish_outlives_a_killed_server(server_world: ServerWorld) -> None:
    pipeline = await Pipeline.create(server_world)
    await pipeline.publish(trajectory(task(0)))
    server_world.running.kill()
    await server_world.running.wait()
    publishing = asyncio.create_task(Publisher(pipeline.broker).publish(trajectory(task(1))))
    await asyncio.sleep(0)
    await server_world.restart()
    assert await publishing
    assert (await state(pipeline.broker)).in_flight == 2


async def test_a_blocked_reader_outlives_a_killed_server(server_world: ServerWorld) -> None:
    pipeline = await Pipeline.create(server_world)
    reading = asyncio.create_task(receive(pipeline.consumer(Stream.RAW), 1))
    await asyncio.sleep(0)
    await server_world.restart()
    await pipeline.publish(trajectory(task(0)))
    (delivery,) = await reading
    assert delivery.trajectory_id == task(0).trajectory_id


async def test_pending_entries_and_open_batches_survive_a_kill(server_world: ServerWorld) -> None:
    pipeline = await Pipeline.create(server_world)
    await pipeline.publish(trajectory(task(0)), trajectory(task(1)), trajectory(task(0, batch="train-000001")))
    first, *_ = await receive(pipeline.consumer(Stream.RAW), 3)
    await pipeline.batches.add_member(first, first.trajectory())
    await server_world.restart()
    measured = await state(pipeline.broker)
    assert (measured.in_flight, measured.waiting_members, measured.streams[Stream.RAW].pending) == (3, 1, 2)
    assert (await pipeline.score(2))[0] == "completed"


async def test_a_server_that_stays_away_is_given_up_by_name(server_world: ServerWorld) -> None:
    broker = await server_world.broker("impatient", unavailable_timeout_s=0.3)
    server_world.running.kill()
    await server_world.running.wait()
    with pytest.raises(BrokerError, match=r"redis://127\.0\.0\.1:\d+/0 did not answer for 0.3 s \(publish\)"):
        await Publisher(broker).publish(trajectory(task()))
    await server_world.restart()


async def test_a_frozen_server_is_waited_for(server_world: ServerWorld) -> None:
    broker = await server_world.broker("short", socket_timeout_s=0.2)
    connected = gauge("up_dependencies").labels(dependency="broker")
    server_world.running.process.send_signal(signal.SIGSTOP)
    publishing = asyncio.create_task(Publisher(broker).publish(trajectory(task())))

    async def timed_out() -> bool:
        return connected._value.get() == 0

    await eventually(timed_out)
    server_world.running.process.send_signal(signal.SIGCONT)
    await publishing
    measured = await state(broker)
    assert measured.counts.published == 1, "the attempts that timed out count once"
    assert connected._value.get() == 1


async def test_something_that_is_not_a_broker_is_named() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = BrokerSettings(url=SecretStr(f"redis://127.0.0.1:{port}/0"), unavailable_timeout_s=0.3)
    async with server:
        with pytest.raises(BrokerError, match=rf"127\.0\.0\.1:{port}"):
            await Broker.connect(settings, RUN, "x")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "redis://127.0.0.1:port"])
async def test_a_malformed_address_is_named(url: str) -> None:
    with pytest.raises(BrokerError, match="is not a broker address"):
        await Broker.connect(BrokerSettings(url=SecretStr(url)), RUN, "x")


async def test_no_address_says_where_to_put_one() -> None:
    with pytest.raises(BrokerError, match="HIPER_BROKER__URL"):
        await Broker.connect(BrokerSettings(), RUN, "x")


async def test_a_cancelled_task_ends_whatever_it_was_doing(world: World) -> None:
    """Python 3.11's `wait_for`, with which redis-py sends, may swallow a cancellation: a drain would wait for ever."""
    broker = await world.broker()

    async def work() -> None:
        while True:
            await broker.server_time_ms()

    for steps in range(60):
        working = asyncio.create_task(work())
        for _ in range(steps):
            await asyncio.sleep(0)
        working.cancel()
        done, _ = await asyncio.wait({working}, timeout=1.0)
        working.cancel()
        assert done, f"the cancellation after {steps} steps of the loop was lost"
        assert working.cancelled()
