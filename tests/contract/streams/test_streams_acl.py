"""Every service does its work as its own user, and nothing else."""

import secrets
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.exceptions import NoPermissionError, ResponseError
from stream_world import RUN, Pipeline, ServerWorld, receive, state, task, trajectory

from hiper.errors import BrokerError, ConfigError
from hiper.streams import (
    Batches,
    Broker,
    Consumer,
    DeadLetters,
    Janitor,
    LearnerLease,
    PolicyBoard,
    Publisher,
    TaskQueue,
    apply_ack,
    snapshot,
)
from hiper.streams.acl import USERS, acl_file, acl_rules
from hiper.streams.keys import GROUPS
from hiper.vocabulary import Stream


async def as_user(world: ServerWorld, user: str) -> Broker:
    """A broker of the run that is connected as `user`."""
    password = secrets.token_hex(8)
    admin = (await world.connect("admin")).client
    await admin.execute_command("ACL", "SETUSER", user, *acl_rules(user, RUN), f">{password}")
    address = world.launch.address.removeprefix("redis://")
    return await world.connect(user, url=SecretStr(f"redis://{user}:{password}@{address}"))


def consumer(broker: Broker, stream: Stream) -> Consumer:
    return Consumer(broker, stream, GROUPS[stream], "a")


async def test_a_trajectory_passes_every_stage_with_every_service_as_its_own_user(server_world: ServerWorld) -> None:
    learner, rollout = await as_user(server_world, "learner"), await as_user(server_world, "rollout")
    reward, hae = await as_user(server_world, "reward"), await as_user(server_world, "hae")
    await learner.create_run()
    for broker in (rollout, reward, hae):
        await broker.join_run(5.0)
    lease = LearnerLease(learner, 5.0)
    await lease.acquire()
    await lease.renew()
    await TaskQueue(learner).issue([task(0), task(1)])
    await PolicyBoard(learner).publish(0, "file:///w", "0" * 64, lease.generation)
    assert (await PolicyBoard(rollout).read()) is not None
    tasks, publisher = consumer(rollout, Stream.TASKS), Publisher(rollout)
    for delivery in await receive(tasks, 2):
        assert not await publisher.is_published(delivery.trajectory_id)
        await publisher.publish(trajectory(delivery.task()))
        await tasks.heartbeat([delivery])
        await tasks.ack(delivery)
    for delivery in await receive(consumer(reward, Stream.RAW), 2):
        await Batches(reward).add_member(delivery, delivery.trajectory())
    batches = Batches(hae)
    (delivery,) = await receive(consumer(hae, Stream.SCORED), 1)
    ready = delivery.batch_ready()
    await batches.hand_off(delivery, ready, await batches.members(ready.batch_id))
    await batches.expire_due()
    await Janitor(hae, batches).tidy()
    entries = await receive(consumer(learner, Stream.ADVANTAGES), 2)
    await apply_ack(learner, lease, {entry.entry_id: "applied" for entry in entries})
    await lease.release()
    observer = await as_user(server_world, "observer")
    await observer.join_run(5.0)
    measured = await snapshot(observer)
    assert (measured.counts.applied, measured.in_flight, measured.gap) == (2, 0, 0)


async def test_dead_letters_are_an_operators_business(server_world: ServerWorld) -> None:
    pipeline = await Pipeline.create(server_world)
    await pipeline.publish(trajectory(task(0)))
    reward = await as_user(server_world, "reward")
    await reward.join_run(5.0)
    raw = consumer(reward, Stream.RAW)
    (delivery,) = await receive(raw, 1)
    await raw.dead_letter(delivery, "bad")
    operator = await as_user(server_world, "operator")
    await operator.join_run(5.0)
    (letter,) = await DeadLetters(operator).list()
    assert await DeadLetters(operator).replay(letter.entry_id)
    assert (await state(pipeline.broker)).streams[Stream.RAW].length == 1


@pytest.mark.parametrize("user", USERS)
async def test_nobody_may_harm_the_server_or_see_another_run(server_world: ServerWorld, user: str) -> None:
    await server_world.broker()
    client = (await as_user(server_world, user)).client
    for words in (
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("CONFIG", "SET", "maxmemory", "1"),
        ("GET", "hiper:{other}:epoch"),
        ("SCRIPT", "FLUSH"),
        ("ACL", "LIST"),
    ):
        with pytest.raises(NoPermissionError):
            await client.execute_command(*words)


async def test_a_rollout_cannot_touch_what_it_does_not_make(server_world: ServerWorld) -> None:
    await server_world.broker()
    rollout = await as_user(server_world, "rollout")
    await rollout.join_run(5.0)
    with pytest.raises((BrokerError, NoPermissionError), match=r"refused|permission"):
        await LearnerLease(rollout, 1.0).acquire()
    with pytest.raises((NoPermissionError, ResponseError)):
        await rollout.client.xadd(rollout.keys.stream(Stream.ADVANTAGES), {"p": "x"})


async def test_the_file_is_one_a_server_loads(server_world: ServerWorld, tmp_path: Path) -> None:
    passwords = {user: f"secret-of-{user}" for user in USERS}
    text = acl_file(RUN, passwords)
    assert not any(password in text for password in passwords.values())
    admin = (await server_world.connect("admin")).client
    for line in text.splitlines()[1:]:
        _, user, *rules = line.split()
        await admin.execute_command("ACL", "SETUSER", user, *rules)
    address = server_world.launch.address.removeprefix("redis://")
    url = SecretStr(f"redis://learner:{passwords['learner']}@{address}")
    assert await (await server_world.connect("x", url=url)).create_run()


def test_a_user_without_password_is_named() -> None:
    with pytest.raises(Exception, match="no password for broker user 'rollout'"):
        acl_file(RUN, {})


async def test_a_password_comes_from_a_file(server_world: ServerWorld, tmp_path: Path) -> None:
    admin = (await server_world.connect("admin")).client
    await admin.execute_command("ACL", "SETUSER", "learner", *acl_rules("learner", RUN), ">from-a-file")
    url = SecretStr(f"redis://learner@{server_world.launch.address.removeprefix('redis://')}")
    mounted = tmp_path / "password"
    mounted.write_text("from-a-file\n")
    assert await (await server_world.connect("learner", url=url, password_file=mounted)).client.ping()
    mounted.write_text("an older one")
    with pytest.raises(BrokerError, match="refused INFO"):
        await server_world.connect("learner", url=url, password_file=mounted)
    with pytest.raises(ConfigError, match="password_file: cannot read"):
        await server_world.connect("learner", url=url, password_file=tmp_path / "missing")
