"""`hiper env serve --workers 2`: sessions spread over its processes, and outlive any one of them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from env_harness import SMALL, raw_stub

from hiper._proto.env.v1 import env_service_pb2 as pb
from hiper.config.sections import EnvSettings
from hiper.ports import PortBook, is_free
from hiper.rpc.env_client import EnvClient

WAIT_S = 60


def free_pair() -> int:
    """A free port whose successor is free too."""
    book = PortBook()
    return next(port for port in (book.port(str(n)) for n in range(100)) if is_free(port + 1))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    (tmp_path / "run.yaml").write_text("env: {synthetic_train: 12, synthetic_valid: 4}\n")
    port = free_pair()
    command = (sys.executable, "-m", "hiper", "env", "serve", "--workers", "2", "--run-dir", str(tmp_path / "run"))
    environment = {**os.environ, "HIPER_GRPC_ADDRESS": f"127.0.0.1:{port}"}
    options = ("--config", str(tmp_path / "run.yaml"), "--name", "env_server-0")
    process = subprocess.Popen([*command, *options], env=environment)
    yield process, port
    process.kill()
    process.wait(timeout=WAIT_S)


async def sessions(port: int) -> int:
    async with raw_stub(f"127.0.0.1:{port}") as stub:
        return int((await stub.GetInfo(pb.GetInfoRequest(), wait_for_ready=True, timeout=WAIT_S)).sessions)


def worker(process: subprocess.Popen[bytes], number: int) -> psutil.Process:
    found = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if f"env_server-0.{number}" in child.cmdline() and "serve" in child.cmdline()
    ]
    return found[-1]


async def test_sessions_spread_over_the_processes_and_outlive_one(server: tuple[subprocess.Popen[bytes], int]) -> None:
    process, port = server
    assert [await sessions(port), await sessions(port + 1)] == [0, 0]
    settings = EnvSettings(**SMALL, addresses=(f"127.0.0.1:{port}-{port + 1}",), unavailable_timeout_s=WAIT_S)
    async with EnvClient(settings) as client:
        task_id = (await client.list_tasks("train"))[0].task_id
        shown = {name: await client.open(name, task_id, seed=0, max_steps=50) for name in "abcd"}
        assert [await sessions(port), await sessions(port + 1)] == [2, 2]
        worker(process, 0).send_signal(signal.SIGKILL)
        steps = [client.step(name, first.admissible[0]) for name, first in shown.items()]
        assert len({step.observation for step in await asyncio.gather(*steps)}) == 1
        assert await sessions(port) + await sessions(port + 1) == 4  # the first process is back
    process.terminate()
    children = psutil.Process(process.pid).children(recursive=True)
    assert await asyncio.to_thread(process.wait, WAIT_S) == 0
    assert not psutil.wait_procs(children, timeout=WAIT_S)[1]
