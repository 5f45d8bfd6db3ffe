"""The engine in this process. One engine for all tests; they run in order, and the test of closing ends it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import psutil
import pytest
import pytest_asyncio
import torch
from engine_contract import PROMPT, RESPONSE_LIMIT, TOLERANCE, EngineContract, World, config_for, write_versions
from tiny_models import write_checkpoint

from hiper.errors import ConfigError, DependencyError
from hiper.vocabulary import PolicyVersion
from services.rollout.engine import EngineDead, Sampling
from services.rollout.vllm_engine import VllmEngine

if TYPE_CHECKING:
    from vllm.config import VllmConfig

pytest.importorskip("vllm", reason="vLLM is not installed")
pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    directories, models = write_versions(tmp_path_factory.mktemp("weights"))
    engine = VllmEngine(config_for(directories[0]))
    await engine.start()
    yield World(engine, directories, models)
    await engine.close()


class TestInProcess(EngineContract):
    pass


async def test_weights_loaded_in_the_pause_are_in_force_and_so_are_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = world.engine.version
    with monkeypatch.context() as patched:
        settings = world.engine._config.rollout.vllm  # type: ignore[attr-defined]
        patched.setitem(vars(settings), "second_weights", False)
        await world.engine.load_weights(world.directories[2], PolicyVersion(version + 1))
    assert world.distance(2, await world.sample()) < TOLERANCE
    await world.engine.load_weights(world.directories[0], PolicyVersion(version + 2))
    assert world.distance(0, await world.sample()) < TOLERANCE


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, ""),
        ({"quant_config": object()}, "the model is quantised"),
        ({"lora_config": object()}, "room for adapters"),
        ({"cache_config": SimpleNamespace(cache_dtype="fp8_e4m3")}, "the key-value cache is quantised"),
    ],
)
async def test_what_stands_against_two_sets_of_weights_is_named(changed: dict[str, object], reason: str) -> None:
    from services.rollout.vllm_staging import reason_against

    plain = {"quant_config": None, "lora_config": None, "cache_config": SimpleNamespace(cache_dtype="auto")}
    config = cast("VllmConfig", SimpleNamespace(**(plain | changed)))
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    assert reason in reason_against(model, config)
    assert bool(reason_against(model, config)) == bool(reason)
    model[0].absorbed = torch.ones(2)  # as latent attention does
    assert reason_against(model, config)


async def test_closing_ends_every_process(world: World) -> None:
    engine_processes = [p for p in psutil.Process().children(recursive=True) if "VLLM" in p.name()]
    assert engine_processes
    await world.engine.check()
    await world.engine.close()
    _, alive = await asyncio.to_thread(psutil.wait_procs, engine_processes, 10)
    assert not alive
    with pytest.raises(EngineDead):
        await world.engine.check()


async def test_an_engine_that_dies_is_noticed(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, seed=0)
    engine = VllmEngine(config_for(tmp_path))
    await engine.start()
    try:
        waiting = asyncio.create_task(engine.generate(PROMPT, Sampling(1.0, 1.0, RESPONSE_LIMIT, 0), "r"))
        for process in psutil.Process().children(recursive=True):
            if "EngineCore" in process.name():
                process.kill()
        with pytest.raises(EngineDead):
            await waiting
        with pytest.raises(EngineDead):
            await engine.check()
    finally:
        await engine.close()


async def test_a_model_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="nowhere") as caught:
        await VllmEngine(config_for(tmp_path / "nowhere")).start()
    assert "\n" not in str(caught.value)
    assert "vllm" in sys.modules


async def test_an_argument_that_vllm_does_not_have_is_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, seed=0)
    engine = VllmEngine(config_for(tmp_path, vllm={"engine_args": {"quantisation": "fp8"}}))
    with pytest.raises(ConfigError, match=r"'quantisation' .*did you mean 'quantization'"):
        await engine.start()
