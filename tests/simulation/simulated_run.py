"""A whole run in one event loop: the services' own classes on a broker in memory, with neighbours that cost nothing.

Real: RolloutWorker, its spool, RewardWorker, HaeWorker, Janitor, Consumer, Batches, lease, ledger order. Stand-ins: the
player (an episode is a sleep), the critic (a constant), the learner's arithmetic (a set of ids is the policy).
A `Process` may be killed at any moment: from then on its calls to the broker never return, as if it were gone.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hiper._proto.common.v1.types_pb2 import TASK_KIND_TRAIN, LevelValues, TokenSpan
from hiper._proto.trajectory.v1.trajectory_pb2 import Outcome, Task, Trajectory, Turn
from hiper.advantages.shaping import ShapingConfig
from hiper.config.sections import BrokerSettings, HaeSettings, RewardSettings
from hiper.streams import (
    GROUPS,
    Batches,
    Broker,
    Consumer,
    Janitor,
    LearnerLease,
    PipelineState,
    Publisher,
    TaskQueue,
    Verdict,
    apply_ack,
    snapshot,
)
from hiper.streams.memory import MemoryServer
from hiper.vocabulary import Stream
from services.hae.detectors import Detectors
from services.hae.estimators import make_estimator
from services.hae.values import CriticReading
from services.hae.worker import HaeWorker
from services.reward.plugins import PluginTerms
from services.reward.worker import RewardWorker
from services.rollout.spool import Spool
from services.rollout.worker import RolloutWorker, WorkerLimits, WorkerParts

RUN = "simulated"
SETTINGS = BrokerSettings(block_ms=2000, claim_idle_s=4.0, max_deliveries=1000)
_FREEZE_SHARE = 0.4
TOKEN = (1).to_bytes(4, "little")


def task(batch: int, sample: int, size: int) -> Task:
    name = f"train-{batch:06}"
    return Task(
        schema_version=1,
        run=RUN,
        trajectory_id=f"{RUN}/{name}/0/{sample}",
        batch_id=name,
        batch_size=size,
        kind=TASK_KIND_TRAIN,
        sample=sample,
        max_steps=3,
    )


def played(of: Task) -> Trajectory:
    """What an episode of `of` always gives."""
    turns = [
        Turn(
            index=index,
            prompt_ids=TOKEN * 3,
            response_ids=TOKEN * 4,
            response_logprobs=b"\0" * 16,
            is_switch=index == 0,
            switch_span=TokenSpan(start=0, end=1),
            subgoal_span=TokenSpan(start=1, end=2),
            action_span=TokenSpan(start=2, end=3),
            valid=True,
            action_admissible=True,
            subgoal_consistent=True,
        )
        for index in range(2)
    ]
    return Trajectory(schema_version=1, task=of, turns=turns, outcome=Outcome(terminated=True, won=of.sample % 2 == 0))


@dataclass
class Process:
    """One life of one process."""

    task: "asyncio.Task[None]"
    brokers: list[Broker]
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    def kill(self) -> None:
        """SIGKILL: nothing of it is heard of again, whatever its handlers would still like to do."""
        for broker in self.brokers:
            broker._link.command = _never  # type: ignore[method-assign]
        self.task.cancel()
        self.dead.set()

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP and SIGCONT: what it asks meanwhile is asked afterwards, when others may have taken over."""
        thawed = asyncio.Event()
        links = [(broker._link, broker._link.command) for broker in self.brokers]

        def frozen(command: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def ask(*words: Any, **options: Any) -> Any:
                await thawed.wait()
                return await command(*words, **options)

            return ask

        for link, command in links:
            link.command = frozen(command)  # type: ignore[method-assign]
        await asyncio.sleep(seconds)
        if not self.dead.is_set():
            for link, command in links:
                link.command = command  # type: ignore[method-assign]
            thawed.set()


async def _never(*_words: Any, **_options: Any) -> Any:
    await asyncio.get_running_loop().create_future()


@dataclass
class Disk:
    """What outlives a learner: its checkpoint."""

    applied: dict[str, int] = field(default_factory=dict)
    """Trajectory id -> how often it took effect in the surviving line of parameters."""
    version: int = 0


@dataclass
class SimulatedRun:
    """`versions` batches of `size` trajectories, under a nemesis that kills `kills` times."""

    dice: random.Random
    root: Path
    versions: int = 2
    size: int = 3
    kills: int = 5
    server: MemoryServer = field(default_factory=MemoryServer)
    disk: Disk = field(default_factory=Disk)
    lives: dict[str, Process] = field(default_factory=dict)

    async def run(self) -> PipelineState:
        """Run until every version is there, and return the pipeline at rest."""
        observer = await self.server.broker(RUN, "observer", SETTINGS)
        await observer.create_run()
        roles: dict[str, Callable[[str, list[Broker]], Awaitable[None]]] = {
            "rollout-0": self.rollout,
            "rollout-1": self.rollout,
            "reward-0": self.reward,
            "reward-1": self.reward,
            "hae-0": self.hae,
            "hae-1": self.hae,
            "learner-0": self.learner,
        }
        keepers = [asyncio.create_task(self.keep(name, role)) for name, role in roles.items()]
        nemesis = asyncio.create_task(self.nemesis())
        try:
            async with asyncio.timeout(3600):
                while (measured := await snapshot(observer)).counts.applied < self.versions * self.size:
                    assert measured.gap == 0, measured
                    await asyncio.sleep(1.0)
        finally:
            for each in (nemesis, *keepers):
                each.cancel()
            await asyncio.gather(nemesis, *keepers, return_exceptions=True)
        return await snapshot(observer)

    async def keep(self, name: str, role: Callable[[str, list[Broker]], Awaitable[None]]) -> None:
        while True:
            brokers: list[Broker] = []
            life = asyncio.create_task(_of(role(name, brokers)))
            process = self.lives[name] = Process(life, brokers)
            dead = asyncio.create_task(process.dead.wait())
            try:
                await asyncio.wait({life, dead}, return_when=asyncio.FIRST_COMPLETED)
                if not process.dead.is_set():
                    life.result()  # it ended by itself: a defect, or a lease that was lost
                await asyncio.sleep(self.dice.uniform(0.1, 1.0))
            finally:
                life.cancel()
                dead.cancel()

    async def nemesis(self) -> None:
        freezes: set[asyncio.Task[None]] = set()
        for _ in range(self.kills):
            await asyncio.sleep(self.dice.expovariate(1.0))
            victim = self.lives[self.dice.choice(sorted(self.lives))]
            if self.dice.random() < _FREEZE_SHARE:
                freezes.add(asyncio.create_task(victim.freeze(self.dice.uniform(1.0, 12.0))))
            else:
                victim.kill()
        await asyncio.gather(*freezes)

    async def connect(self, name: str, brokers: list[Broker]) -> Broker:
        broker = await self.server.broker(RUN, name, SETTINGS)
        brokers.append(broker)
        await broker.join_run(60.0)
        return broker

    async def rollout(self, name: str, brokers: list[Broker]) -> None:
        broker = await self.connect(name, brokers)
        parts = WorkerParts(
            _consumer(broker, Stream.TASKS, name),
            Publisher(broker),
            self,  # type: ignore[arg-type]  # it plays
            self,  # type: ignore[arg-type]  # its weights are always there
            Spool(self.root / name, 2**20),
        )
        await RolloutWorker(parts, WorkerLimits(slots=2, drain_s=1.0, beat_s=1.0)).run(asyncio.Event())

    async def play(self, of: Task) -> Trajectory:
        await asyncio.sleep(self.dice.expovariate(0.5))
        return played(of)

    async def wait_for(self, version: int) -> None:
        del version

    async def reward(self, name: str, brokers: list[Broker]) -> None:
        broker = await self.connect(name, brokers)
        consumer = _consumer(broker, Stream.RAW, name)
        plugins = PluginTerms(RewardSettings())
        await RewardWorker(consumer, Batches(broker), ShapingConfig(), plugins).run(asyncio.Event())

    async def hae(self, name: str, brokers: list[Broker]) -> None:
        broker = await self.connect(name, brokers)
        consumer = _consumer(broker, Stream.SCORED, name)
        settings, batches = HaeSettings(), Batches(broker)
        critic: Any = self  # it reads
        worker = HaeWorker(consumer, batches, critic, make_estimator(settings), Detectors(settings.detectors))
        janitor = asyncio.create_task(Janitor(broker, batches).run())
        try:
            await worker.run(asyncio.Event())
        finally:
            janitor.cancel()

    async def read(self, queries: Sequence[Any]) -> CriticReading:
        """The critic: it takes its time and knows nothing."""
        await asyncio.sleep(self.dice.expovariate(2.0))
        return CriticReading([LevelValues(low=0.0, high=0.0, switch=0.0) for _ in queries], 0)

    async def learner(self, name: str, brokers: list[Broker]) -> None:
        """Protocol P8 with a set of ids for a policy."""
        broker = await self.connect(name, brokers)
        lease = LearnerLease(broker, 3.0)
        await lease.acquire(wait_s=600.0)
        keeper = asyncio.create_task(lease.keep())
        try:
            await self._learn(broker, lease, _consumer(broker, Stream.ADVANTAGES, "learner"))
        finally:
            keeper.cancel()

    async def _learn(self, broker: Broker, lease: LearnerLease, consumer: Consumer) -> None:
        ledger = dict(self.disk.applied)
        staged: dict[str, dict[str, Any]] = {}
        version = self.disk.version
        while True:
            if version < self.versions:
                await TaskQueue(broker).issue([task(version, sample, self.size) for sample in range(self.size)])
            for delivery in await consumer.receive(64):
                if delivery.trajectory_id in ledger:
                    await apply_ack(broker, lease, {delivery.entry_id: "applied"})
                    continue
                staged.setdefault(delivery.batch_id, {})[delivery.trajectory_id] = delivery
            batch = staged.get(f"train-{version:06}", {})
            if len(batch) < self.size:
                continue
            await asyncio.sleep(self.dice.uniform(0.0, 1.0))  # the update
            for name in batch:
                ledger[name] = ledger.get(name, 0) + 1
            version += 1
            await asyncio.sleep(0)
            self.disk.applied, self.disk.version = dict(ledger), version  # the checkpoint, in one piece
            await asyncio.sleep(0)
            verdicts: dict[str, Verdict] = {delivery.entry_id: "applied" for delivery in batch.values()}
            await apply_ack(broker, lease, verdicts)


def _consumer(broker: Broker, stream: Stream, name: str) -> Consumer:
    # The clock is handed in: the default was bound before time became virtual.
    return Consumer(broker, stream, GROUPS[stream], name, clock=asyncio.get_running_loop().time)


async def _of(work: Awaitable[None]) -> None:
    await work
