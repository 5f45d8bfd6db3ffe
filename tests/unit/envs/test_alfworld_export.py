"""Filling a generated game with the texts of the user's own files, so that the original can play it."""

import json
import os
from pathlib import Path

import pytest

from hiper.envs.alfworld.engine import AlfworldEpisode
from hiper.envs.alfworld.export import export_game
from hiper.envs.alfworld.game import parse_game
from hiper.envs.alfworld.source import AlfworldFiles
from hiper.envs.alfworld.storage import open_storage
from hiper.envs.alfworld.versions import synthetic_grammar
from hiper.errors import DataError

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("HIPER_DATA", ROOT / "../shared/data")) / "alfworld"
TASK = "synth-alfworld/8/pick_heat_then_place_in_recep/1"
GRAMMAR = synthetic_grammar("Your task is to: UNKNOWN GOAL.", "Some help.\n")


@pytest.fixture
def logic(tmp_path: Path) -> Path:
    folder = tmp_path / "logic"
    folder.mkdir()
    (folder / "alfred.pddl").write_text("(define (domain alfred))")
    (folder / "alfred.twl2").write_text(GRAMMAR)
    return tmp_path


@pytest.mark.parametrize("place", [".", "logic"])
def test_texts_come_from_a_folder_and_the_rest_from_the_generator(logic: Path, place: str) -> None:
    exported = json.loads(export_game(TASK, logic / place))
    assert exported["pddl_domain"] == "(define (domain alfred))"
    assert "Your task is to: " in exported["grammar"]
    assert "UNKNOWN" not in exported["grammar"]
    assert exported["walkthrough"]


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="no ALFWorld game files: set HIPER_DATA or have ../shared/data")
def test_with_the_texts_of_a_real_game_it_is_a_real_game(tmp_path: Path) -> None:
    first = AlfworldFiles(DATA).ids("valid_unseen")[0]
    (tmp_path / "game.tw-pddl").write_bytes(open_storage(DATA).read(first) or b"")
    game = parse_game(export_game(TASK, tmp_path / "game.tw-pddl"), "exported")
    episode = AlfworldEpisode(game)
    assert game.version == "2.1.2"
    assert [episode.step(command).won for command in game.walkthrough][-1] is True


def test_what_cannot_be_exported_says_why(logic: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="chained"):
        export_game("synth-alfworld-horizon/3/1", logic)
    with pytest.raises(DataError, match="no-such"):
        export_game(TASK, tmp_path / "no-such")
    (logic / "logic" / "alfred.twl2").write_text("no grammar")
    with pytest.raises(DataError, match="no task sentence"):
        export_game(TASK, logic)
    (tmp_path / "broken").write_text("{")
    with pytest.raises(DataError, match="not a game file"):
        export_game(TASK, tmp_path / "broken")
    with pytest.raises(DataError, match="not a synthetic"):
        export_game("train/x/y", logic)
