"""Replies that are lost, servers and workers that are killed: nothing is lost, nothing takes effect twice."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from stream_world import Pipeline, ServerWorld, World, eventually, receive, state, task, trajectory

from hiper.streams import (
    Batches,
    Broker,
    DeadLetters,
    Delivery,
    LearnerLease,
    PolicyBoard,
    Publisher,
    TaskQueue,
    apply_ack,
)
from hiper.vocabulary import Stream

WRITES = {"EVALSHA", "EVAL"}
READS = {"XREADGROUP"}


@contextmanager
def lost_replies(broker: Broker, loses: Callable[[tuple[Any, ...]], bool]) -> Iterator[Counter[str]]:
    """The server does what it is told, and where `loses` says so, its answer never arrives."""
    command, lost = broker._link.command, Counter[str]()

    async def command_without_answer(*words: Any, blocking: bool = False) -> Any:
        answer = await command(*words, blocking=blocking)
        if words[0] in WRITES | READS and loses(words):
            lost[words[0]] += 1
            raise RedisConnectionError("the reply was lost")
        return answer

    broker._link.command = command_without_answer  # type: ignore[method-assign]
    try:
        yield lost
    finally:
        broker._link.command = command  # type: ignore[method-assign]


def first_answer() -> Callable[[tuple[Any, ...]], bool]:
    """Lose the first answer to each command of the same words; its repeat is answered."""
    sent = set[tuple[Any, ...]]()

    def loses(words: tuple[Any, ...]) -> bool:
        is_first = words not in sent
        sent.add(words)
        return is_first

    return loses


async def test_every_step_survives_the_loss_of_its_answer(world: World) -> None:
    world.settings = world.settings.model_copy(update={"claim_idle_s": 0.05})
    pipeline = await Pipeline.create(world)
    broker, batches = pipeline.broker, pipeline.batches
    lease, letters = LearnerLease(broker, 0.3), DeadLetters(broker)
    raw, scored = pipeline.consumer(Stream.RAW), pipeline.consumer(Stream.SCORED)
    members = [task(0), task(1), task(0, batch="bad", size=1)]
    with lost_replies(broker, first_answer()) as lost:
        await lease.acquire()
        assert lease.generation == 2, "the generation whose answer was lost has to run out"
        await TaskQueue(broker).issue(members)
        for each in members:
            await Publisher(broker).publish(trajectory(each))
        *good, bad = await receive(raw, 3)
        await raw.dead_letter(bad, "bad")
        for delivery in good:
            await batches.add_member(delivery, delivery.trajectory())
        (delivery,) = await receive(scored, 1)
        await batches.hand_off(delivery, delivery.batch_ready(), await batches.members("train-000000"))
        entries = await receive(pipeline.consumer(Stream.ADVANTAGES), 2)
        await apply_ack(broker, lease, {entry.entry_id: "applied" for entry in entries})
        await PolicyBoard(broker).publish(1, "file:///v1", "aa", lease.generation)
        (letter,) = await letters.list()
        await letters.purge(letter.entry_id)
        await lease.renew()
    assert lost["EVALSHA"] + lost["EVAL"] >= 12
    assert lost["XREADGROUP"] > 0
    measured = await state(broker)
    assert measured.streams[Stream.TASKS].length == 3
    counts = measured.counts
    assert (counts.published, counts.applied, counts.dropped, measured.in_flight) == (3, 2, {"purged": 1}, 0)


async def test_entries_whose_delivery_was_lost_come_back(world: World) -> None:
    world.settings = world.settings.model_copy(update={"claim_idle_s": 0.05})
    pipeline = await Pipeline.create(world)
    await pipeline.publish(*(trajectory(task(n, size=4)) for n in range(4)))
    with lost_replies(pipeline.broker, first_answer()) as lost:
        deliveries = await receive(pipeline.consumer(Stream.RAW), 4)
    assert lost["XREADGROUP"] > 0
    assert lost["EVALSHA"] + lost["EVAL"] > 0
    assert {d.trajectory_id for d in deliveries} == {task(n).trajectory_id for n in range(4)}


@dataclass
class Fleet:
    """Workers as tasks of one loop, each with its own connections; ends when every trajectory is applied."""

    world: ServerWorld
    dice: random.Random
    total: int
    size: int
    checkpoint: Counter[str] = field(default_factory=Counter)
    """How often each trajectory changed the parameters; the learner's ledger."""
    staged: dict[str, dict[str, Delivery]] = field(default_factory=lambda: defaultdict(dict))

    async def rollout(self, broker: Broker, name: str) -> None:
        consumer, publisher = self.world.consumer(broker, Stream.TASKS, name), Publisher(broker)
        async for delivery in consumer:
            done = await publisher.is_published(delivery.trajectory_id)
            if not done:
                await publisher.publish(trajectory(delivery.task()))
            await consumer.ack(delivery, deduplicated=done)

    async def reward(self, broker: Broker, name: str) -> None:
        batches = Batches(broker)
        async for delivery in self.world.consumer(broker, Stream.RAW, name):
            await batches.add_member(delivery, delivery.trajectory())

    async def hae(self, broker: Broker, name: str) -> None:
        batches = Batches(broker)
        async for delivery in self.world.consumer(broker, Stream.SCORED, name):
            ready = delivery.batch_ready()
            members = await batches.members(ready.batch_id)
            if members:
                await batches.hand_off(delivery, ready, members)

    async def learner(self, broker: Broker, name: str) -> None:
        lease = LearnerLease(broker, 0.3)
        await lease.acquire(wait_s=30.0)
        tasks = [task(n % self.size, batch=f"train-{n // self.size:06}", size=self.size) for n in range(self.total)]
        await TaskQueue(broker).issue(tasks)
        async for delivery in self.world.consumer(broker, Stream.ADVANTAGES, name):
            batch = self.staged[delivery.batch_id]
            batch[delivery.trajectory_id] = delivery
            if len(batch) == delivery.members:
                self.checkpoint.update(set(batch) - set(self.checkpoint))
                await asyncio.sleep(0)
                await apply_ack(broker, lease, {each.entry_id: "applied" for each in batch.values()})

    async def run_for_ever(self, role: Callable[[Broker, str], Awaitable[None]], name: str) -> None:
        """Restart a worker under its name whenever the nemesis has cancelled it."""
        broker = await self.world.broker(name)
        with lost_replies(broker, lambda _: self.dice.random() < 0.03):
            while True:
                life = asyncio.ensure_future(role(broker, name))
                self.lives[name] = life
                try:
                    await life
                except asyncio.CancelledError:
                    if not life.cancelled() or asyncio.current_task().cancelling():  # type: ignore[union-attr]
                        life.cancel()
                        raise

    lives: dict[str, "asyncio.Future[None]"] = field(default_factory=dict)

    async def nemesis(self) -> None:
        while True:
            await asyncio.sleep(self.dice.uniform(0.05, 0.15))
            if self.dice.random() < 0.3:
                await self.world.restart()
            elif self.lives:
                self.lives[self.dice.choice(sorted(self.lives))].cancel()


@pytest.mark.slow
async def test_a_fleet_under_fire_applies_every_trajectory_once(server_world: ServerWorld) -> None:
    server_world.settings = server_world.settings.model_copy(update={"claim_idle_s": 0.3, "max_deliveries": 1000})
    fleet = Fleet(server_world, random.Random(7), total=480, size=6)
    observer = await server_world.broker("observer")
    roles = {"rollout": fleet.rollout, "reward": fleet.reward, "hae": fleet.hae}
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(fleet.run_for_ever(fleet.learner, "learner-0"))]
        jobs += [
            group.create_task(fleet.run_for_ever(role, f"{name}-{n}")) for name, role in roles.items() for n in (0, 1)
        ]
        fire = group.create_task(fleet.nemesis())

        async def applied() -> bool:
            return (await state(observer)).counts.applied == fleet.total

        try:
            await eventually(applied, deadline_s=90.0)
        finally:
            for job in [*jobs, fire]:
                job.cancel()
    if server_world.running.process.returncode is not None:
        await server_world.restart()
    measured = await state(observer)
    assert (measured.counts.published, measured.counts.terminal, measured.in_flight) == (fleet.total, fleet.total, 0)
    assert set(fleet.checkpoint.values()) == {1}
    assert len(fleet.checkpoint) == fleet.total
