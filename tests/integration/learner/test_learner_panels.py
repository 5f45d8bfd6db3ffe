"""A run whose data is not its panel's, as a user meets it: it ends at once, in one line that names the file."""

import json
from pathlib import Path

import pytest
from learner_processes import processes
from learner_world import World

from hiper.envs.alfworld.generator import generate_json
from hiper.envs.alfworld.layout import GameSpec
from hiper.envs.alfworld.model import TaskType
from hiper.envs.alfworld.source import AlfworldFiles
from hiper.envs.panels import dump_panel, make_panel


def write_game(tree: Path, name: str, seed: int) -> Path:
    path = tree / "json_2.1.1" / name / "game.tw-pddl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(generate_json(GameSpec("demo", TaskType.PLACE, seed)))
    return path


@pytest.mark.slow
async def test_an_altered_game_ends_the_run_in_one_line_that_names_it(world: World, tmp_path: Path) -> None:
    tree, panel = tmp_path / "games", tmp_path / "panel.json"
    for number in range(6):
        split = "valid_seen" if number % 2 else "train"
        write_game(tree, f"{split}/pick_and_place_simple-Thing-None-Place-{number}/trial_T{number}", number)
    panel.write_bytes(dump_panel(make_panel(AlfworldFiles(tree), "valid_seen")))
    altered = write_game(tree, "valid_seen/pick_and_place_simple-Thing-None-Place-3/trial_T3", seed=99)

    world.tree["env"] = {"data": str(tree)}
    world.tree["evaluation"]["panel"] = str(panel)
    with processes(world) as learner:
        process = learner()
        assert await process.ends() == 2, "no restart would help"
    said = [line for line in map(json.loads, process.log().splitlines()) if line["level"] == "error"]
    assert len(said) == 1
    assert str(altered.relative_to(tree / "json_2.1.1")) + " differs" in said[0]["error"]
    assert "hiper data check" in said[0]["error"]
    assert not (world.directory / "checkpoints").exists()
