"""A run whose data is not its panel's, as a user meets it: it ends at once, in one line that names the file."""

import json
from pathlib import Path

import pytest
from game_trees import write_game
from learner_processes import processes
from learner_world import World

from hiper.envs.alfworld.source import AlfworldFiles
from hiper.envs.panels import dump_panel, make_panel


@pytest.mark.slow
async def test_an_altered_game_ends_the_run_in_one_line_that_names_it(world: World, tmp_path: Path) -> None:
    tree, panel = tmp_path / "games", tmp_path / "panel.json"
    for number in range(6):
        write_game(tree, "valid_seen" if number % 2 else "train", number)
    panel.write_bytes(dump_panel(make_panel(AlfworldFiles(tree), "valid_seen")))
    altered = write_game(tree, "valid_seen", 3, seed=99)

    world.tree["env"] = {"data": str(tree)}
    world.tree["evaluation"]["panel"] = str(panel)
    world.tree["model"]["path"] = "no model is loaded for this"
    with processes(world) as learner:
        process = learner()
        assert await process.ends() == 2, "no restart would help"
    said = [line for line in map(json.loads, process.log().splitlines()) if line["level"] == "error"]
    assert len(said) == 1
    assert str(altered.relative_to(tree / "json_2.1.1")) + " differs" in said[0]["error"]
    assert "hiper data check" in said[0]["error"]
    assert not (world.directory / "checkpoints").exists()
