"""A run between rollout and learner: a real broker, real reward and HAE workers, a critic whose answers are known."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
import numpy as np

from hiper._proto.common.v1.types_pb2 import LevelValues
from hiper._proto.critic.v1 import critic_service_pb2 as pb
from hiper._proto.critic.v1 import critic_service_pb2_grpc as stubs
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.config.sections import BrokerSettings, HaeSettings, RewardSettings
from hiper.embedded_broker import RunningBroker, resolve_broker, start
from hiper.rpc import Listen, serve
from hiper.streams import (
    GROUPS,
    Batches,
    Broker,
    Consumer,
    DeadLetters,
    Delivery,
    PipelineState,
    Publisher,
    TaskQueue,
    snapshot,
)
from hiper.vocabulary import Stream
from services.hae.detectors import Detectors
from services.hae.estimators import make_estimator
from services.hae.values import ValueSource, value_source
from services.hae.worker import HaeWorker
from services.reward.plugins import PluginTerms
from services.reward.terms import shaping_config
from services.reward.worker import RewardWorker

RUN = "test"
DEADLINE_S = 20.0
_PROGRAM = """
import sys
from importlib import import_module
from pathlib import Path
from hiper.service import run_service
service, config, run_dir, name = sys.argv[1:]
main = import_module(f"services.{service}.app").main
sys.exit(run_service(service, main, config=Path(config), run_dir=Path(run_dir), name=name))
"""


def critic_values(prompt_ids: bytes) -> LevelValues:
    """The values of a turn are a function of its prompt, so a test can compute them on its own."""
    seed = float(np.frombuffer(prompt_ids, dtype="<i4") @ np.array([0.5, 0.25, 0.125]))
    return LevelValues(low=seed, high=seed + 1, switch=2 * seed)


class Critic(stubs.CriticServiceServicer):
    """Answers at once, or waits while `gate` is closed. `version` may change, `spoil` a value."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.calls: list[int] = []
        self.versions: list[int] = []
        """Versions of the next answers; the last one stays."""
        self.version = 1
        self.spoil = False

    async def ComputeValues(  # noqa: N802
        self, request: pb.ComputeValuesRequest, _context: grpc.aio.ServicerContext
    ) -> pb.ComputeValuesResponse:
        self.calls.append(len(request.queries))
        self.asked.set()
        await self.gate.wait()
        if self.versions:
            self.version = self.versions.pop(0)
        values = [critic_values(query.prompt_ids) for query in request.queries]
        if self.spoil:
            values[1].low = float("nan")
        return pb.ComputeValuesResponse(values=values, critic_version=self.version)

    @asynccontextmanager
    async def serving(self, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
        def add(server: grpc.aio.Server) -> None:
            stubs.add_CriticServiceServicer_to_server(self, server)

        async with serve(Listen(address, grace_s=0.1), {"hiper.critic.v1.CriticService": add}) as server:
            yield server.address


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not await condition():
        assert time.monotonic() < give_up, "the condition did not come true in time"
        await asyncio.sleep(0.02)


async def received(consumer: Consumer) -> Delivery:
    """The next delivery, taken and never acknowledged."""
    found: list[Delivery] = []

    async def came() -> bool:
        found.extend(await consumer.receive(1))
        return bool(found)

    await eventually(came)
    return found[0]


@dataclass
class World:
    """One broker, one run; everything it opened is closed at the end."""

    running: RunningBroker
    settings: BrokerSettings
    broker: Broker
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    brokers: list[Broker] = field(default_factory=list)
    critics: list[ValueSource] = field(default_factory=list)
    plugins: list[PluginTerms] = field(default_factory=list)
    group_timeout_s: float = 600.0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def connect(self, name: str) -> Broker:
        broker = await Broker.connect(self.settings, RUN, name)
        self.brokers.append(broker)
        await broker.join_run(5)
        return broker

    async def reward(self, name: str = "reward-0", **settings: object) -> tuple[RewardWorker, Consumer]:
        broker = await self.connect(name)
        chosen = RewardSettings(**settings)
        plugins = PluginTerms(chosen)
        self.plugins.append(plugins)
        consumer = Consumer(broker, Stream.RAW, GROUPS[Stream.RAW], name)
        return RewardWorker(consumer, self.batches(broker), shaping_config(chosen), plugins), consumer

    def batches(self, broker: Broker | None = None) -> Batches:
        return Batches(broker or self.broker, self.group_timeout_s)

    async def hae(self, critic_address: str, name: str = "hae-0", **settings: object) -> tuple[HaeWorker, Consumer]:
        broker = await self.connect(name)
        chosen = HaeSettings(critic_address=critic_address, **settings)
        critic = value_source(chosen)
        self.critics.append(critic)
        consumer = Consumer(broker, Stream.SCORED, GROUPS[Stream.SCORED], name, prefetch=1)
        worker = HaeWorker(consumer, self.batches(broker), critic, make_estimator(chosen), Detectors(chosen.detectors))
        return worker, consumer

    def run(self, worker: RewardWorker | HaeWorker) -> asyncio.Task[None]:
        task = asyncio.create_task(worker.run(self.stop))
        self.tasks.append(task)
        return task

    async def publish(self, trajectories: list[Trajectory]) -> None:
        await TaskQueue(self.broker).issue([trajectory.task for trajectory in trajectories])
        publisher = Publisher(self.broker)
        for trajectory in trajectories:
            await publisher.publish(trajectory)

    async def handed_on(self, number: int) -> list[Delivery]:
        """What the learner would read: exactly `number` entries, and no more on a second look."""
        consumer = Consumer(self.broker, Stream.ADVANTAGES, GROUPS[Stream.ADVANTAGES], "learner")
        found: list[Delivery] = []

        async def enough() -> bool:
            found.extend(await consumer.receive(number + 1))
            return len(found) >= number

        await eventually(enough)
        assert await consumer.receive(1) == []
        assert len(found) == number
        return found

    async def state(self) -> PipelineState:
        """The pipeline now; the conservation law holds at every instant."""
        measured = await snapshot(self.broker)
        assert measured.gap == 0, measured
        return measured

    async def dead_letters(self, number: int) -> list[str]:
        """Errors of the dead letters, once there are `number`."""
        letters = DeadLetters(self.broker)

        async def enough() -> bool:
            return len(await letters.list()) >= number

        await eventually(enough)
        return [letter.error for letter in await letters.list()]

    async def aclose(self) -> None:
        self.stop.set()
        await asyncio.wait(self.tasks, timeout=DEADLINE_S) if self.tasks else None
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for critic in self.critics:
            await critic.__aexit__()
        for plugins in self.plugins:
            await plugins.aclose()
        for broker in [*self.brokers, self.broker]:
            await broker.close()
        await self.running.stop()


@asynccontextmanager
async def new_world(directory: Path, **changes: object) -> AsyncIterator[World]:
    launch = resolve_broker(BrokerSettings(), directory / "broker")
    settings = BrokerSettings(
        url=launch.url, block_ms=50, socket_timeout_s=2.0, connect_timeout_s=1.0, unavailable_timeout_s=10.0
    ).model_copy(update=changes)
    running = await start(launch)
    broker = await Broker.connect(settings, RUN, "test")
    await broker.create_run()
    world = World(running, settings, broker)
    try:
        yield world
    finally:
        await world.aclose()


def start_service(
    service: str, directory: Path, url: str, critic_address: str, name: str = "", settings: str = ""
) -> subprocess.Popen[bytes]:
    """A service as a process of its own, under the same consumer name at every start."""
    name = name or f"{service}-0"
    config = directory / "run.yaml"
    config.write_text(f"run: {RUN}\nbroker: {{claim_idle_s: 1.0, block_ms: 100}}\n{settings}")
    environment = {
        **os.environ,
        "HIPER_BROKER__URL": url,
        "HIPER_HAE__CRITIC_ADDRESS": critic_address,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", _PROGRAM, service, str(config), str(directory), name]
    with (directory / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stderr=log)
