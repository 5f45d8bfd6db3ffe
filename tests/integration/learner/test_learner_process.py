"""The learner as a process of its own: killed, asked to stop, started again, and finished."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from learner_world import DEADLINE_S, World, eventually, new_world
from safetensors.torch import load_file

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


def versions(world: World) -> list[int]:
    path = world.directory / "metrics.jsonl"
    return [json.loads(line)["version"] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.slow
async def test_killed_and_stopped_and_started_again_it_ends_where_it_would_have(world: World, tmp_path: Path) -> None:
    reference = tmp_path / "reference"
    reference.mkdir()
    async with new_world(reference) as other, other.playing():
        await (await other.learner()).finish()

    world.tree["env"] = {"synthetic_train": 12, "synthetic_valid": 4}
    world.tree["evaluation"]["split"] = "valid"
    async with world.playing():
        with processes(world) as learner:
            process = learner()
            await eventually(lambda: len(versions(world)) >= 1)
            process.send(signal.SIGKILL)
            assert await process.ends() == -signal.SIGKILL

            world.holds = lambda batch_id: batch_id == "train-000003"
            process = learner()
            await eventually(lambda: versions(world) == [1, 2, 3])
            process.send(signal.SIGTERM)
            assert await process.ends() == 0, process.log()
            assert not (world.directory / "finished.json").exists()

            world.holds = lambda batch_id: False
            process = learner()
            assert await process.ends() == 0, process.log()

    assert "Traceback" not in process.log()
    assert json.loads((world.directory / "finished.json").read_text()) == {"policy_version": 4}
    assert versions(world) == [1, 2, 3, 4]
    counts = (await world.state()).counts
    assert counts.applied == counts.published
    last = "weights/v000004/model.safetensors"
    expected, found = load_file(reference / last), load_file(world.directory / last)
    assert expected.keys() == found.keys()
    assert all((expected[name] == found[name]).all() for name in expected)


@pytest.mark.slow
async def test_a_model_that_is_not_there_is_one_line_and_an_exit_code(world: World) -> None:
    world.tree["model"]["path"] = str(world.directory / "nowhere")
    with processes(world) as learner:
        process = learner()
        assert await process.ends() == 3
    assert "cannot load the model" in process.log()
    assert "Traceback" not in process.log()
