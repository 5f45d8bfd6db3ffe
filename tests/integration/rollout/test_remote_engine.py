"""The engine on a real vLLM server: the contract of every engine, and what only a server can do: go and come back."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from engine_contract import PROMPT_LIMIT, RESPONSE_LIMIT, EngineContract, World, config_for, write_versions

from hiper.vocabulary import PolicyVersion
from services.rollout.engine import EngineDead
from services.rollout.remote_engine import RemoteEngine
from services.rollout.vllm_start import prepare_environment

pytest.importorskip("vllm", reason="vLLM is not installed")
pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ARGUMENTS = """--host 127.0.0.1 --dtype float32 --enforce-eager --max-num-seqs 32 --max-num-batched-tokens 8192
--no-enable-chunked-prefill --logprobs-mode processed_logprobs --no-async-scheduling --skip-tokenizer-init
--generation-config vllm --enable-scale-out --enable-prompt-tokens-details --disable-uvicorn-access-log
--worker-extension-cls services.rollout.vllm_worker.WeightsExtension"""
"""As in services/rollout/README.md, beside what makes it small."""


@dataclass
class Server:
    """A `vllm serve` on one port."""

    model: Path
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        prepare_environment(config_for(self.model))
        environment = os.environ | {"VLLM_SERVER_DEV_MODE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        program = [
            sys.executable,
            "-m",
            "vllm.entrypoints.openai.api_server",
            "--model",
            str(self.model),
            *ARGUMENTS.split(),
        ]
        limits = ["--port", str(self.port), "--max-model-len", str(PROMPT_LIMIT + RESPONSE_LIMIT)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                program + limits, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    root = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    return Server(root / "v0", port, root / "log")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(server: Server) -> AsyncIterator[World]:
    directories, models = write_versions(server.model.parent)
    remote = {"urls": [server.url], "unavailable_timeout_s": 240}
    engine = RemoteEngine(config_for(server.model, engine="remote", remote=remote))
    server.start()
    try:
        await engine.start()
        yield World(engine, directories, models)
    finally:
        await engine.close()
        server.kill()


class TestRemote(EngineContract):
    pass


async def test_a_server_that_is_started_again_gets_its_weights_back_before_it_is_believed(
    world: World, server: Server
) -> None:
    await world.engine.load_weights(world.directories[2], PolicyVersion(11))
    server.kill()
    waiting = asyncio.create_task(world.sample(seed=400))
    server.start()
    generation = await waiting
    assert (generation.version_start, generation.version_end) == (11, 11)
    assert world.distance(2, generation) < 1e-4


async def test_a_server_that_stays_away_is_named(world: World, server: Server) -> None:
    remote = {"urls": [server.url], "unavailable_timeout_s": 0.2}
    engine = RemoteEngine(config_for(server.model, engine="remote", remote=remote, generate_timeout_s=20))
    await engine.start()
    server.kill()
    try:
        with pytest.raises(EngineDead, match=server.url):
            await _look_until_it_fails(engine)
    finally:
        await engine.close()


async def _look_until_it_fails(engine: RemoteEngine) -> None:
    while True:
        await engine.check()
        await asyncio.sleep(0.05)
