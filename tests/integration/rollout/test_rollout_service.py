"""The rollout as a process: real vLLM, a real broker, a real env server. The test plays the learner."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
from tiny_models import write_checkpoint

from hiper._proto.trajectory.v1.trajectory_pb2 import Task, Trajectory
from hiper.config import RunConfig, load_config
from hiper.embedded_broker import resolve_broker, start
from hiper.rpc.env_client import EnvClient
from hiper.streams import Broker, LearnerLease, PolicyBoard, TaskQueue
from hiper.vocabulary import Stream
from hiper.weights import write_version

pytest.importorskip("vllm", reason="vLLM is not installed")
pytestmark = [pytest.mark.vllm, pytest.mark.slow]

PROGRAM = """
import sys
from importlib import import_module
from pathlib import Path
from hiper.service import run_service
if __name__ == "__main__":
    kind, config, name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    main = import_module(f"services.{kind}.app").main
    sys.exit(run_service(kind, main, config=config, run_dir=config.parent, name=name))
"""
MAX_STEPS = 3
CONFIG = """
run: test
model: {{path: {model}}}
broker: {{block_ms: 100, claim_idle_s: 5}}
env: {{synthetic_train: 12, synthetic_valid: 4, max_steps: {max_steps}}}
rollout:
  concurrent_episodes: 8
  prompt: {{style: compact}}
  sampling: {{max_prompt_tokens: 200, max_response_tokens: 24}}
  dtype: float32
  enforce_eager: true
  cpu_threads: 1
  drain_timeout_s: 10
"""


@dataclass
class Service:
    """One service process and its log."""

    directory: Path
    kind: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def log_path(self) -> Path:
        return self.directory / f"{self.kind}.log"

    def start(self) -> None:
        program = self.directory / "program.py"
        program.write_text(PROGRAM)
        environment = os.environ | self.environment | {"PYTHONPATH": os.pathsep.join(sys.path)}
        arguments = [sys.executable, str(program), self.kind, str(self.directory / "run.yaml"), f"{self.kind}-0"]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(arguments, env=environment, stderr=log, stdout=log, start_new_session=True)

    def descendants(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        """End the whole group, as the supervisor and a container do."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=20)

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""


@dataclass
class Run:
    """A run seen from the learner."""

    directory: Path
    config: RunConfig
    broker: Broker
    lease: LearnerLease
    tasks: list[str]
    rollout: Service
    issued: int = 0

    async def issue(self, number: int, *, min_version: int = 0) -> set[str]:
        new = [
            Task(
                schema_version=1,
                run="test",
                trajectory_id=f"test/train-000000/{index}/0",
                batch_id="train-000000",
                batch_size=number,
                group=index,
                env="alfworld",
                task_id=self.tasks[index % len(self.tasks)],
                seed=index,
                max_steps=MAX_STEPS,
                temperature=1.0,
                min_policy_version=min_version,
            )
            for index in range(self.issued, self.issued + number)
        ]
        self.issued += number
        assert await TaskQueue(self.broker).issue(new) == number
        return {task.trajectory_id for task in new}

    async def announce(self, version: int) -> None:
        model = self.directory / f"checkpoint-{version}"
        write_checkpoint(model, seed=version)
        made = await asyncio.to_thread(
            write_version, self.directory / "weights", version, lambda target: _copy(model, target), {}
        )
        board = PolicyBoard(self.broker)
        await board.publish(version, made.directory.as_uri(), made.manifest_sha256, self.lease.generation)

    async def published(self) -> list[Trajectory]:
        entries = await self.broker.command("XRANGE", self.broker.keys.stream(Stream.RAW), "-", "+")
        return [Trajectory.FromString(fields[b"p"]) for _, fields in entries]

    async def until_published(self, wanted: set[str], deadline_s: float = 120.0) -> dict[str, Trajectory]:
        await self.until(lambda found: wanted <= found.keys(), deadline_s)
        found = await self.published()
        by_id = {trajectory.task.trajectory_id: trajectory for trajectory in found}
        assert len(by_id) == len(found), "a trajectory was published twice"
        return by_id

    async def until(self, holds: Callable[[dict[str, Trajectory]], bool], deadline_s: float = 120.0) -> None:
        give_up = time.monotonic() + deadline_s
        while not holds({one.task.trajectory_id: one for one in await self.published()}):
            assert time.monotonic() < give_up, self.rollout.log()[-3000:]
            assert self.rollout.process is None or self.rollout.process.poll() is None, self.rollout.log()[-3000:]
            await asyncio.sleep(0.05)


def _copy(source: Path, target: Path) -> None:
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())


@asynccontextmanager
async def new_run(directory: Path) -> AsyncIterator[Run]:
    model = directory / "model"
    write_checkpoint(model, seed=0)
    (directory / "run.yaml").write_text(CONFIG.format(model=model, max_steps=MAX_STEPS))
    port = _free_port()
    launch = resolve_broker(load_config(directory / "run.yaml", environment={}).broker, directory / "broker")
    environment = {
        "HIPER_BROKER__URL": launch.url.get_secret_value(),
        "HIPER_ENV__ADDRESSES": f'["127.0.0.1:{port}"]',
    }
    config = load_config(directory / "run.yaml", environment=environment)
    env = Service(directory, "env_server", {"HIPER_GRPC_ADDRESS": f"127.0.0.1:{port}"})
    rollout = Service(directory, "rollout", environment)
    async with await start(launch), await Broker.connect(config.broker, "test", "learner") as broker:
        await broker.create_run()
        lease = LearnerLease(broker, 60.0)
        await lease.acquire()
        env.start()
        try:
            async with EnvClient(config.env) as client:
                tasks = [task.task_id for task in await client.list_tasks("train")]
            yield Run(directory, config, broker, lease, tasks, rollout)
        finally:
            rollout.kill()
            env.kill()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check(trajectory: Trajectory) -> None:
    assert not trajectory.outcome.abandoned, trajectory.outcome.error
    assert trajectory.outcome.truncated, "a model that writes nonsense solves nothing"
    assert len(trajectory.turns) == MAX_STEPS
    assert trajectory.next_prompt_ids
    assert trajectory.producer == "rollout-0"
    for index, turn in enumerate(trajectory.turns):
        ids, logprobs = np.frombuffer(turn.response_ids, "<i4"), np.frombuffer(turn.response_logprobs, "<f4")
        assert turn.index == index
        assert 0 < len(ids) == len(logprobs)
        assert (logprobs <= 1e-6).all()
        assert np.isfinite(logprobs).all()
        assert len(np.frombuffer(turn.prompt_ids, "<i4")) > 10
        assert turn.policy_version_start <= turn.policy_version_end


async def test_a_run_survives_a_kill_and_ends_in_a_drain(tmp_path: Path) -> None:
    async with new_run(tmp_path) as run:
        run.rollout.start()
        first = await run.issue(12)
        later = await run.issue(4, min_version=1)
        await run.announce(0)
        played = await run.until_published(first)
        assert not later & played.keys(), "an episode began on weights older than its task asks for"

        await run.announce(1)
        played = await run.until_published(first | later)
        assert all(turn.policy_version_start == 1 for name in later for turn in played[name].turns)

        many = await run.issue(400)
        await run.until(lambda found: len(found) > 30)
        run.rollout.kill()
        assert len(await run.published()) < 416, "the kill came too late to mean anything"

        run.rollout.start()
        played = await run.until_published(first | later | many)
        for trajectory in played.values():
            check(trajectory)

        await run.issue(400)
        await run.until(lambda found: len(found) > 450)
        engine = run.rollout.descendants()
        assert any("VLLM" in process.name() for process in engine)
        assert run.rollout.process is not None
        run.rollout.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(run.rollout.process.wait, 60) == 0, run.rollout.log()[-3000:]
        _, alive = await asyncio.to_thread(psutil.wait_procs, engine, 10)
        assert not alive, "a process of the engine outlived the service"
        assert "Traceback" not in run.rollout.log()
        counts = await run.broker.counts()
        assert counts.published == len(await run.published())


async def test_a_killed_service_leaves_no_engine_behind(tmp_path: Path) -> None:
    async with new_run(tmp_path) as run:
        run.rollout.start()
        wanted = await run.issue(4)
        await run.announce(0)
        await run.until_published(wanted)
        engine = [process for process in run.rollout.descendants() if "VLLM" in process.name()]
        assert len(engine) == 2
        assert run.rollout.process is not None
        run.rollout.process.kill()  # the process alone, not its group
        _, alive = await asyncio.to_thread(psutil.wait_procs, engine, 20)
        assert not alive


async def test_a_killed_engine_ends_the_process_with_one_line(tmp_path: Path) -> None:
    async with new_run(tmp_path) as run:
        run.rollout.start()
        wanted = await run.issue(4)
        await run.announce(0)
        await run.until_published(wanted)
        for process in run.rollout.descendants():
            if "EngineCore" in process.name():
                process.kill()
        assert run.rollout.process is not None
        assert await asyncio.to_thread(run.rollout.process.wait, 60) == 3
        own_lines = [line for line in run.rollout.log().splitlines() if line.startswith("{")]
        assert "service failed" in own_lines[-1]
        assert "vLLM died" in own_lines[-1]
