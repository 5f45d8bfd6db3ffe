"""A control API over real HTTP, before a real broker with a run in it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from hiper._proto.trajectory.v1.trajectory_pb2 import Outcome, Task, Trajectory, Turn
from hiper.config import RunConfig, parse_config
from hiper.embedded_broker import RunningBroker, resolve_broker, start
from hiper.rpc.auth import TokenFile
from hiper.service import Health
from hiper.service.http import HttpServer
from hiper.streams import GROUPS, Broker, Consumer, PolicyBoard, Publisher, RunControl
from hiper.vocabulary import Stream
from services.control.access import Access
from services.control.api import create_api
from services.control.desk import Desk
from services.control.scaling import SupervisorScaler

RUN = "steered"
TOKEN = "a-token-for-tests"


@dataclass
class World:
    """One run and its API."""

    run_dir: Path
    running: RunningBroker
    broker: Broker
    client: httpx.AsyncClient
    url: str

    @property
    def control(self) -> RunControl:
        return RunControl(self.broker)

    @property
    def board(self) -> PolicyBoard:
        return PolicyBoard(self.broker)

    async def publish(self, trajectory: Trajectory) -> None:
        await Publisher(self.broker).publish(trajectory)

    async def dead_letters(self, number: int) -> None:
        """Publish trajectories nobody can process."""
        consumer = Consumer(self.broker, Stream.RAW, GROUPS[Stream.RAW], "test")
        for index in range(number):
            task = Task(trajectory_id=f"{RUN}/train-000000/{index}/0", batch_id="train-000000", group=index)
            turns = [Turn(index=0)]
            trajectory = Trajectory(schema_version=1, task=task, outcome=Outcome(won=True), turns=turns)
            await Publisher(self.broker).publish(trajectory)
            for delivery in await consumer.receive(1):
                await consumer.dead_letter(delivery, "its rewards are not finite")


@asynccontextmanager
async def new_world(directory: Path, *, token: bool = True) -> AsyncIterator[World]:
    run_dir = directory / "run"
    run_dir.mkdir(parents=True)
    config = parse_config({"run": RUN}, source="test", environment={})
    running = await start(resolve_broker(config.broker, directory / "broker"))
    settings = config.broker.model_copy(update={"url": running.launch.url, "block_ms": 50})
    try:
        async with await Broker.connect(settings, RUN, "test") as broker:
            await broker.create_run()
            with serving(config.model_copy(update={"broker": settings}), run_dir, directory, token=token) as server:
                url = f"http://127.0.0.1:{server.port}"
                headers = {"Authorization": f"Bearer {TOKEN}"} if token else {}
                async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
                    yield World(run_dir, running, broker, client, url)
    finally:
        await running.stop()


def serving(config: RunConfig, run_dir: Path, directory: Path, *, token: bool) -> HttpServer:
    """The API in a thread of its own; the caller enters it."""
    secret = directory / "token"
    secret.write_text(TOKEN)
    access = Access("127.0.0.1:0", TokenFile(secret) if token else None)
    desk, health = Desk(config, run_dir, "control"), Health()
    health.beat()
    return HttpServer(create_api(desk, SupervisorScaler(desk), access, health), "127.0.0.1:0")
