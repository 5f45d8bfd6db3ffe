"""The env service measured as its clients meet it: a real server process, `BatchStep` of 64 through gRPC on loopback.

Two batches are in flight at a time, so that the server is not kept waiting while the client reads an answer; client
and server share the machine, so two cores are what this needs.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc.aio

from hiper._proto.env.v1 import env_service_pb2 as pb
from hiper._proto.env.v1 import env_service_pb2_grpc as stubs
from hiper.bench.timing import BenchOptions, Figure, Say, Target
from hiper.errors import DependencyError
from hiper.ports import PortBook
from hiper.rpc import open_channel
from hiper.rpc.listen import ADDRESS_VARIABLE
from hiper.supervisor.children import end
from hiper.supervisor.plan import child_environment

__all__ = ["BATCH", "BATCHES_IN_FLIGHT", "measure_service"]

BATCH = 64
BATCHES_IN_FLIGHT = 2
_SECONDS = 3.0
_TASKS = 256
_MAX_STEPS = 50
_START_S = 60.0
_CALL_S = 30.0
_STOP_S = 10.0


def measure_service(options: BenchOptions, say: Say) -> Figure:
    """Steps a second, over the repeats. Raises `DependencyError` when the server does not come up or answer."""
    with _server(options.data) as (address, log):
        try:
            rates = asyncio.run(_rates(address, options, say))
        except grpc.aio.AioRpcError as error:
            last = (log.read_text().splitlines() or ["no message"])[-1]
            raise DependencyError(f"the env server at {address} does not answer: {last}", "see its message") from error
    return Figure("alfworld.grpc_batch_64", "steps/s", rates, "repeats", Target(8_000))


async def _rates(address: str, options: BenchOptions, say: Say) -> list[float]:
    async with open_channel(address) as channel:
        stub = stubs.EnvServiceStub(channel)
        tasks = await _tasks(stub)
        players = [
            _Player(stub, number, random.Random(f"{options.seed}/{number}")) for number in range(BATCHES_IN_FLIGHT)
        ]
        for player in players:
            await player.begin(tasks)
        rates = []
        for repeat in range(options.repeats):
            say(f"env service: repeat {repeat + 1} of {options.repeats}")
            started = time.perf_counter()
            until = started + _SECONDS * options.scale
            steps = await asyncio.gather(*(player.play(until) for player in players))
            rates.append(sum(steps) / (time.perf_counter() - started))
        return rates


@contextmanager
def _server(data: Path | None) -> Iterator[tuple[str, Path]]:
    """`hiper env serve` on a free port, stopped at the end: its address and its log."""
    address = PortBook().address("env")
    env = {"data": str(data.resolve())} if data else {"synthetic_train": _TASKS, "synthetic_valid": 8}
    with tempfile.TemporaryDirectory() as folder:
        config, log = Path(folder, "run.json"), Path(folder, "log")
        config.write_text(json.dumps({"env": env}))
        command = [
            sys.executable,
            "-m",
            "hiper",
            "env",
            "serve",
            "--workers",
            "1",
            "--config",
            str(config),
            "--run-dir",
            folder,
        ]
        with log.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603 - our own program
                command, env={**child_environment(os.environ), ADDRESS_VARIABLE: address}, stderr=stderr
            )
        try:
            yield address, log
        finally:
            end(process, _STOP_S)


async def _tasks(stub: stubs.EnvServiceStub) -> list[str]:
    info = await stub.GetInfo(pb.GetInfoRequest(), wait_for_ready=True, timeout=_START_S)
    request = pb.ListTasksRequest(split=min(info.splits), page_size=_TASKS)
    return [task.task_id for task in (await stub.ListTasks(request, timeout=_CALL_S)).tasks]


class _Player:
    """Plays one batch of sessions at random, each from its own last answer."""

    def __init__(self, stub: stubs.EnvServiceStub, number: int, rng: random.Random) -> None:
        self._stub = stub
        self._rng = rng
        self._ids = [f"bench-{number}-{i}" for i in range(BATCH)]
        self._shown: list[pb.StepResult] = []

    async def begin(self, tasks: list[str]) -> None:
        """Open the sessions."""
        specs = [pb.SessionSpec(session_id=i, task_id=self._rng.choice(tasks), max_steps=_MAX_STEPS) for i in self._ids]
        created = await self._stub.CreateSessions(pb.CreateSessionsRequest(sessions=specs), timeout=_CALL_S)
        refused = [result.status.message for result in created.results if result.status.code]
        if refused:
            raise DependencyError(f"the env server refused a session: {refused[0]}", "check --data")
        self._shown = await self._reset(self._ids)

    async def play(self, until: float) -> int:
        """Step until that time by `time.perf_counter`; returns the steps played."""
        steps = 0
        while time.perf_counter() < until:
            items = [
                pb.StepItem(session_id=i, step_index=shown.step_index + 1, action=self._choose(shown.admissible))
                for i, shown in zip(self._ids, self._shown, strict=True)
            ]
            reply = await self._stub.BatchStep(pb.BatchStepRequest(items=items), timeout=_CALL_S)
            self._shown = list(reply.results)
            steps += len(items)
            over = [n for n, shown in enumerate(self._shown) if shown.terminated or shown.truncated]
            for n, fresh in zip(over, await self._reset([self._ids[n] for n in over]), strict=True):
                self._shown[n] = fresh
        return steps

    def _choose(self, admissible: Sequence[str]) -> str:
        return admissible[int(self._rng.random() * len(admissible))]

    async def _reset(self, ids: list[str]) -> list[pb.StepResult]:
        if not ids:
            return []
        reply = await self._stub.BatchReset(pb.BatchResetRequest(session_ids=ids), timeout=_CALL_S)
        return list(reply.results)
