"""A run's panels against real game files behind gRPC: one altered file stops the run by its name."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from env_harness import in_process
from game_trees import game_file, write_game

from hiper.config import RunConfig, parse_config
from hiper.config.sections import EnvSettings
from hiper.envs.alfworld.source import AlfworldFiles
from hiper.envs.panels import PanelMismatchError, dump_panel, make_panel
from hiper.rpc.env_client import EnvClient
from services.learner.panels import RunPanels, choose_panels


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for split, first in (("train", 0), ("valid_seen", 10)):
        for number in range(first, first + 3):
            write_game(tmp_path / "data", split, number)
    return tmp_path / "data"


@pytest.fixture
def config(tree: Path, tmp_path: Path) -> RunConfig:
    """A run on a panel of what is in the tree now."""
    path = tmp_path / "panel.json"
    path.write_bytes(dump_panel(make_panel(AlfworldFiles(tree), "valid_seen")))
    settings = {"run": "r", "env": {"data": str(tree)}, "evaluation": {"panel": str(path)}}
    return parse_config(settings, source="test", environment={})


@asynccontextmanager
async def client(config: RunConfig) -> AsyncIterator[EnvClient]:
    async with in_process(config.env) as server:
        settings = EnvSettings.model_validate({**config.env.model_dump(), "addresses": (server.address,)})
        async with EnvClient(settings) as env:
            yield env


async def chosen(config: RunConfig) -> RunPanels:
    async with client(config) as env:
        return await choose_panels(config, env)


async def test_data_that_fits_is_played(tree: Path, config: RunConfig) -> None:
    panels = await chosen(config)
    source = AlfworldFiles(tree)
    assert [task.id for task in panels.evaluation.tasks] == source.ids("valid_seen")
    described = [source.describe(task) for task in source.ids("train")]
    listed = [(task.id, task.type, task.split, task.sha256) for task in panels.train.tasks]
    assert listed == [(info.task_id, info.task_type, info.split, info.sha256) for info in described]


async def test_one_altered_file_stops_the_run_and_is_named(tree: Path, config: RunConfig) -> None:
    altered = write_game(tree, "valid_seen", 11, seed=99)
    with pytest.raises(PanelMismatchError, match="differs: sha256") as stopped:
        await chosen(config)
    assert str(altered.relative_to(tree / "json_2.1.1")) in stopped.value.message


async def test_a_removed_file_stops_the_run_and_is_named(tree: Path, config: RunConfig) -> None:
    removed = game_file(tree, "valid_seen", 12)
    removed.unlink()
    with pytest.raises(PanelMismatchError, match="is missing") as stopped:
        await chosen(config)
    assert str(removed.relative_to(tree / "json_2.1.1")) in stopped.value.message


async def test_a_file_written_again_is_the_same_game(tree: Path, config: RunConfig) -> None:
    file = game_file(tree, "valid_seen", 10)
    file.write_text(json.dumps(json.loads(file.read_text()), indent=1))
    assert len((await chosen(config)).evaluation.tasks) == 3
