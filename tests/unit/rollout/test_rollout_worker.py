import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rollout_fakes import Board, ScriptedEngine, ScriptedEnv, Stream, delivery, eventually, player, task

from hiper._proto.common.v1.types_pb2 import TASK_KIND_EVAL
from hiper._proto.trajectory.v1.trajectory_pb2 import Task
from hiper.errors import BrokerError
from hiper.streams import BrokerFull, Delivery, PublishedPolicy
from hiper.vocabulary import PolicyVersion
from hiper.weights import FilesystemSource, write_version
from services.rollout.engine import EngineDead
from services.rollout.spool import Spool
from services.rollout.weights_sync import SyncBounds, SyncParts, WeightsSync
from services.rollout.worker import RolloutWorker, WorkerLimits, WorkerParts


@dataclass
class World:
    """A worker with scripted neighbours. Weights version 0 is in force unless `announced` is False."""

    root: Path
    stream: Stream
    slots: int = 4
    drain_s: float = 0.2
    engine: ScriptedEngine = field(default_factory=ScriptedEngine)
    env: ScriptedEnv = field(default_factory=ScriptedEnv)
    board: Board = field(default_factory=Board)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    announced: bool = True
    running: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.weights = WeightsSync(
            SyncParts(self.board, FilesystemSource(), self.engine), SyncBounds(0.001), lambda _ok, _detail: None
        )
        self.spool = Spool(self.root / "spool", 2**20)
        limits = WorkerLimits(self.slots, self.drain_s, beat_s=0.01, publish_patience_s=1.0, retry_s=0.005)
        parts = WorkerParts(self.stream, self.stream, player(self.engine, self.env), self.weights, self.spool)
        self.worker = RolloutWorker(parts, limits)

    async def announce(self, version: int) -> None:
        def write(directory: Path) -> None:
            (directory / "weights").write_bytes(bytes([version]))

        made = await asyncio.to_thread(write_version, self.root / "weights", version, write, {})
        self.board.policy = PublishedPolicy(version, made.directory.as_uri(), made.manifest_sha256, 1)
        await self.weights.poll()

    def gate(self, number: int) -> asyncio.Event:
        """Make the episode of task `number` wait in the engine."""
        return self.engine.gates.setdefault(task(number).trajectory_id, asyncio.Event())


@asynccontextmanager
async def at_work(world: World) -> AsyncIterator[World]:
    """Run the worker; at the end stop it and require that it leaves no task behind."""
    before = asyncio.all_tasks()
    if world.announced:
        await world.announce(0)
    world.running = asyncio.create_task(world.worker.run(world.stop))
    try:
        yield world
    finally:
        world.stop.set()
        async with asyncio.timeout(10):
            await asyncio.gather(world.running, return_exceptions=True)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() <= before, "the worker left tasks behind"
    await world.running


@asynccontextmanager
async def failing_with(kind: type[Exception], world: World) -> AsyncIterator[None]:
    """Run the worker and require that it ends by itself, with an error of this kind."""
    with pytest.RaisesGroup(kind, flatten_subgroups=True):
        async with at_work(world):
            yield
            assert world.running is not None
            await asyncio.wait([world.running], timeout=10)
            assert world.running.done()


def ids(*numbers: int) -> set[str]:
    return {task(number).trajectory_id for number in numbers}


async def test_every_task_is_published_and_then_acknowledged(tmp_path: Path) -> None:
    stream = Stream([task(number) for number in range(20)])
    async with at_work(World(tmp_path, stream)):
        await eventually(lambda: len(stream.acked) == 20)
    assert set(stream.published) == set(stream.acked) == ids(*range(20))
    for name in stream.published:
        assert stream.events.index(f"publish {name}") < stream.events.index(f"ack {name}")
    assert not stream.released


async def test_nothing_waits_for_the_slowest_episode(tmp_path: Path) -> None:
    stream = Stream([task(number) for number in range(12)])
    world = World(tmp_path, stream, slots=2)
    gate = world.gate(0)
    async with at_work(world):
        await eventually(lambda: set(stream.acked) == ids(*range(1, 12)))
        gate.set()
        await eventually(lambda: len(stream.acked) == 12)


async def test_a_sample_that_hangs_holds_up_neither_its_group_nor_others(tmp_path: Path) -> None:
    samples = [
        task(sample, trajectory_id=f"test/train-000000/{group}/{sample}", group=group, sample=sample)
        for group in range(3)
        for sample in range(4)
    ]
    stream = Stream(samples)
    world = World(tmp_path, stream, slots=3)
    hanging = samples[1].trajectory_id
    world.engine.gates[hanging] = asyncio.Event()
    async with at_work(world):
        await eventually(lambda: len(stream.acked) == 11)
        assert hanging not in stream.acked
        world.engine.gates[hanging].set()
        await eventually(lambda: hanging in stream.acked)


async def test_an_evaluation_shares_the_slots_with_training(tmp_path: Path) -> None:
    evaluation = [
        task(n, trajectory_id=f"test/eval-000000/{n}/0", kind=TASK_KIND_EVAL, temperature=0.4) for n in range(2)
    ]
    training = [task(n) for n in range(6)]
    stream = Stream([*evaluation, *training])
    world = World(tmp_path, stream, slots=3)
    for one in evaluation:
        world.engine.gates[one.trajectory_id] = asyncio.Event()
    async with at_work(world):
        await eventually(lambda: set(stream.acked) == {one.trajectory_id for one in training})
        for gate in world.engine.gates.values():
            gate.set()
        await eventually(lambda: len(stream.acked) == 8)
    temperatures = {name.split("/")[1]: sampling.temperature for name, _, sampling in world.engine.calls}
    assert temperatures == pytest.approx({"eval-000000": 0.4, "train-000000": 1.0})
    assert {stream.published[one.trajectory_id].task.kind for one in evaluation} == {TASK_KIND_EVAL}


async def test_no_more_tasks_are_held_than_slots(tmp_path: Path) -> None:
    stream = Stream([task(number) for number in range(9)])
    world = World(tmp_path, stream, slots=3)
    gates = [world.gate(number) for number in range(9)]
    async with at_work(world):
        await eventually(lambda: len(world.env.open_sessions) == 3)
        await asyncio.sleep(0.02)
        assert len(stream.pending) == 3
        assert len(stream.waiting) == 6
        for gate in gates:
            gate.set()
        await eventually(lambda: len(stream.acked) == 9)


async def test_a_task_whose_trajectory_is_published_is_not_played(tmp_path: Path) -> None:
    stream = Stream([task(0), task(1)])
    await stream.publish(await player(ScriptedEngine(), ScriptedEnv()).play(task(0)))
    world = World(tmp_path, stream)
    async with at_work(world):
        await eventually(lambda: len(stream.acked) == 2)
    assert set(stream.deduplicated) == ids(0)
    assert world.env.opened == ids(1)


async def test_an_episode_waits_for_the_weights_its_task_asks_for(tmp_path: Path) -> None:
    stream = Stream([task(0), task(1, min_policy_version=2)])
    world = World(tmp_path, stream)
    async with at_work(world):
        await eventually(lambda: set(stream.acked) == ids(0))
        await world.announce(1)
        await asyncio.sleep(0.02)
        assert world.env.opened == ids(0)
        await world.announce(2)
        await eventually(lambda: set(stream.acked) == ids(0, 1))
    assert stream.published[task(1).trajectory_id].turns[0].policy_version_start == 2


async def test_no_task_is_taken_before_the_first_weights(tmp_path: Path) -> None:
    stream = Stream([task(0)])
    world = World(tmp_path, stream, announced=False)
    async with at_work(world):
        await asyncio.sleep(0.02)
        assert not stream.pending
        await world.announce(0)
        await eventually(lambda: set(stream.acked) == ids(0))


async def test_a_stop_before_the_first_weights_ends_the_worker(tmp_path: Path) -> None:
    stream = Stream([task(0)])
    async with at_work(World(tmp_path, stream, announced=False)):
        pass
    assert not stream.pending


async def test_a_drain_lets_episodes_end_and_gives_the_others_back(tmp_path: Path) -> None:
    stream = Stream([task(0), task(1), task(2, min_policy_version=9), task(3)])
    world = World(tmp_path, stream, slots=3)
    ends_in_time = world.gate(0)
    world.gate(1)
    async with at_work(world):
        await eventually(lambda: len(world.env.open_sessions) == 2 and len(stream.pending) == 3)
        world.stop.set()
        await asyncio.sleep(0.02)
        ends_in_time.set()
    assert stream.acked == list(ids(0))
    assert set(stream.published) == ids(0)
    assert set(stream.released) == ids(1, 2)
    assert {one.trajectory_id for one in stream.waiting} == ids(3)
    assert not world.env.open_sessions


async def test_a_full_broker_is_survived_on_disk(tmp_path: Path) -> None:
    stream = Stream([task(0), task(1), task(2)])
    stream.refuse = BrokerFull("full")
    world = World(tmp_path, stream, slots=2)
    async with at_work(world):
        await eventually(lambda: len(world.spool) == 2)
        await asyncio.sleep(0.05)
        assert len(stream.waiting) == 1, "no task is taken while trajectories wait"
        assert not stream.acked, "a trajectory on disk is not yet published"
        stream.refuse = None
        await eventually(lambda: len(stream.acked) == 3)
    assert set(stream.published) == ids(0, 1, 2)
    assert len(world.spool) == 0


async def test_a_trajectory_left_in_the_spool_is_published_by_the_next_life(tmp_path: Path) -> None:
    stream = Stream([task(0)])
    stream.refuse = BrokerFull("full")
    async with at_work(World(tmp_path, stream)) as first:
        await eventually(lambda: len(first.spool) == 1)
    assert stream.released, "the task is given back"

    again = Stream([task(0)])  # delivered once more
    second = World(tmp_path, again)
    async with at_work(second):
        await eventually(lambda: again.acked == list(ids(0)))
    assert again.deduplicated == list(ids(0))
    assert not second.env.opened, "it was not played a second time"
    assert len(Spool(tmp_path / "spool", 2**20)) == 0


async def test_a_broker_that_stays_away_ends_the_process_but_not_the_trajectory(tmp_path: Path) -> None:
    stream = Stream([task(0)])
    stream.refuse = BrokerFull("full")
    world = World(tmp_path, stream)
    async with failing_with(BrokerError, world):
        await eventually(lambda: len(world.spool) == 1)
        stream.refuse = BrokerError("gone for 120 s")
    assert [one.task.trajectory_id for one in Spool(tmp_path / "spool", 2**20).load()] == list(ids(0))


async def test_a_dead_engine_ends_the_worker(tmp_path: Path) -> None:
    stream = Stream([task(0), task(1)])
    world = World(tmp_path, stream)
    world.gate(1)
    world.engine.failures[task(0).trajectory_id] = EngineDead("gone")
    async with failing_with(EngineDead, world):
        pass
    assert not stream.acked
    assert not world.env.open_sessions


async def test_a_task_taken_over_by_another_consumer_is_dropped(tmp_path: Path) -> None:
    stream = Stream([task(0), task(1)])
    world = World(tmp_path, stream)
    world.gate(0)
    async with at_work(world):
        await eventually(lambda: stream.acked == list(ids(1)))
        stream.taken_over = set(stream.pending)
        await eventually(lambda: not world.env.open_sessions)
    assert set(stream.published) == ids(1)
    assert not stream.released


async def test_a_task_that_is_being_acknowledged_is_not_taken_for_lost(tmp_path: Path) -> None:
    stream = Stream([task(0)])
    stream.ack_gate = asyncio.Event()
    async with at_work(World(tmp_path, stream)):
        await eventually(lambda: bool(stream.published))
        stream.taken_over = set(stream.pending)  # as the broker sees it once the acknowledgement has arrived there
        beats = stream.beats
        await eventually(lambda: stream.beats > beats + 1)
        stream.ack_gate.set()
        await eventually(lambda: stream.acked == list(ids(0)))


async def test_an_entry_that_is_no_task_goes_to_the_dead_letters(tmp_path: Path) -> None:
    stream = Stream()
    stream.waiting = [Delivery("1-0", b"\xff\xff", 1, {"id": b"x"}), delivery(task(1), 2)]
    async with at_work(World(tmp_path, stream)):
        await eventually(lambda: set(stream.acked) == ids(1) and bool(stream.dead))
    assert stream.dead[0][0] == "x"


async def test_a_task_delivered_twice_is_played_once(tmp_path: Path) -> None:
    twice: list[Task] = [task(0)]
    stream = Stream(twice)
    world = World(tmp_path, stream)
    gate = world.gate(0)
    async with at_work(world):
        await eventually(lambda: len(world.env.open_sessions) == 1)
        stream.waiting.append(delivery(task(0), 0))
        await eventually(lambda: not stream.waiting)
        gate.set()
        await eventually(lambda: bool(stream.acked))
    assert len(world.engine.calls) == world.env.length
    assert world.engine.version == PolicyVersion(0)
