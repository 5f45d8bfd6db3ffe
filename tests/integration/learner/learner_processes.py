"""The learner and an env server as processes of their own."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from learner_world import DEADLINE_S, World

_PROGRAM = """
import sys
from importlib import import_module
from pathlib import Path
from hiper.service import run_service
service, config, run_dir = sys.argv[1:]
main = import_module(f"services.{service}.app").main
sys.exit(run_service(service, main, config=Path(config), run_dir=Path(run_dir), name=service))
"""


class Process:
    """A service as a process of its own."""

    def __init__(self, world: World, service: str, **environment: str) -> None:
        config = world.directory / "run.yaml"
        config.write_text(json.dumps(world.tree))
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
        self._log = world.directory / f"{service}.log"
        with self._log.open("ab") as log:
            command = [sys.executable, "-c", _PROGRAM, service, str(config), str(world.directory)]
            self._popen = subprocess.Popen(command, env=variables, stderr=log)

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def log(self) -> str:
        return self._log.read_text()

    async def ends(self) -> int:
        return await asyncio.to_thread(self._popen.wait, DEADLINE_S)

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()


@contextmanager
def processes(world: World) -> Iterator[Callable[[], Process]]:
    """An env server, and a way to start learners that find it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    started = [Process(world, "env_server", HIPER_GRPC_ADDRESS=address)]

    def learner() -> Process:
        url = world.running.launch.url.get_secret_value()
        started.append(Process(world, "learner", HIPER_BROKER__URL=url, HIPER_ENV__ADDRESSES=json.dumps([address])))
        return started[-1]

    try:
        yield learner
    finally:
        for process in started:
            process.kill()
