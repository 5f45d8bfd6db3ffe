"""Env servers for the tests: in this process, or as a process of their own that can be killed and stopped."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio

from hiper._proto.env.v1 import env_service_pb2_grpc as stubs
from hiper.config.sections import EnvSettings
from hiper.envs.base import TaskSource
from hiper.envs.configured import open_configured_source
from hiper.rpc import Listen, open_channel, serve
from services.env_server.host import SessionHost
from services.env_server.servicer import SERVICE, EnvServicer
from services.env_server.sessions import SessionTable

SMALL = {"synthetic_train": 12, "synthetic_valid": 4}
_PROGRAM = """
import sys
from pathlib import Path
from hiper.service import run_service
from services.env_server.app import main
sys.exit(run_service("env", main, config=Path(sys.argv[1]), run_dir=Path(sys.argv[2]), name="env-0"))
"""


@dataclass
class InProcess:
    """A server in this event loop, its table within reach."""

    address: str
    host: SessionHost
    servicer: EnvServicer

    @property
    def table(self) -> SessionTable:
        return self.host.table

    @property
    def source(self) -> TaskSource:
        return self.host.source


@asynccontextmanager
async def in_process(
    settings: EnvSettings,
    *,
    source: TaskSource | None = None,
    clock: Callable[[], float] = time.monotonic,
    address: str = "127.0.0.1:0",
) -> AsyncIterator[InProcess]:
    tasks = source or open_configured_source(settings)
    host = SessionHost(tasks, settings, clock)
    servicer = EnvServicer(host, settings, uuid.uuid4().hex)

    def add(server: grpc.aio.Server) -> None:
        stubs.add_EnvServiceServicer_to_server(servicer, server)

    async with serve(Listen(address, grace_s=0.2), {SERVICE: add}) as server:
        yield InProcess(server.address, host, servicer)


@asynccontextmanager
async def raw_stub(address: str) -> AsyncIterator[stubs.EnvServiceStub]:
    async with open_channel(address) as channel:
        yield stubs.EnvServiceStub(channel)


@dataclass
class Process:
    """`hiper env serve` as a process on a port of its own; `start` again after `kill` is a restart on the same port."""

    directory: Path
    env: dict[str, Any] = field(default_factory=lambda: dict(SMALL))
    """Its `env` settings."""
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None)

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (self.directory / "run.yaml").write_text(json.dumps({"env": self.env}))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = {**os.environ, "HIPER_GRPC_ADDRESS": self.address, "PYTHONPATH": os.pathsep.join(sys.path)}
        arguments = [sys.executable, "-c", _PROGRAM, str(self.directory / "run.yaml"), str(self.directory)]
        log = (self.directory / "env.log").open("ab")
        with log:
            self.process = subprocess.Popen(arguments, env=environment, stderr=log)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait(timeout=10)

    async def wait(self) -> int:
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, 20)

    def log(self) -> str:
        return (self.directory / "env.log").read_text()
