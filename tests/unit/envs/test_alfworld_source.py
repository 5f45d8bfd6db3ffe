"""Tasks from files: an unpacked tree, an archive, and what is wrong with either."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from kitchens import document, write_games

from hiper.envs.alfworld.source import AlfworldFiles
from hiper.envs.base import TaskSource
from hiper.errors import DataError

FILES = {
    "train/pick_and_place_simple-Apple-None-Fridge-1/trial_T2": document(),
    "train/pick_and_place_simple-Apple-None-Fridge-1/trial_T1": document(),
    "valid_seen/look_at_obj_in_light-Apple-None-DeskLamp-1/trial_T3": document("light"),
    "train/pick_and_place_simple-AppleSliced-None-Fridge-1/trial_T4": document(),
    "train/movable-Apple-None-Fridge-1/trial_T5": document(),
    "train/pick_and_place_simple-Apple-None-Fridge-2/trial_T6": document(solvable=False),
}
TRAIN = [
    "train/pick_and_place_simple-Apple-None-Fridge-1/trial_T1",
    "train/pick_and_place_simple-Apple-None-Fridge-1/trial_T2",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_games(tmp_path / "data", FILES)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "packed" / "games.tar.xz"
    path.parent.mkdir()
    with tarfile.open(path, "w:xz") as packed:
        for game_id, content in FILES.items():
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(f"json_2.1.1/{game_id}/game.tw-pddl")
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture(params=["parent", "tree", "archive", "folder of the archive"])
def place(request: pytest.FixtureRequest) -> Path:
    match request.param:
        case "parent":
            return request.getfixturevalue("tree")
        case "tree":
            return request.getfixturevalue("tree") / "json_2.1.1"
        case "archive":
            return request.getfixturevalue("archive")
        case _:
            return request.getfixturevalue("archive").parent


def test_every_form_of_the_data_is_the_same_source(place: Path) -> None:
    source = AlfworldFiles(place)
    assert isinstance(source, TaskSource)
    assert source.splits() == ("train", "valid_seen")
    assert source.ids("train") == TRAIN
    assert source.skipped == {"Sliced": 1, "movable": 1, "unsolvable": 1}
    assert (source.env, source.version) == ("alfworld", "synthetic")
    info = source.describe("valid_seen/look_at_obj_in_light-Apple-None-DeskLamp-1/trial_T3")
    assert (info.task_type, info.split, info.env) == ("look_at_obj_in_light", "valid_seen", "alfworld")
    assert info.goal == 'put the "red" apple in fridge.'
    assert source.open(TRAIN[0], seed=5, max_steps=1).step("look").truncated is True


def test_a_task_may_be_given_as_the_path_of_its_game_file(place: Path) -> None:
    source = AlfworldFiles(place)
    path = f"json_2.1.1/{TRAIN[0]}/game.tw-pddl"
    for spelling in (TRAIN[0], path, f"./{path}", f"/anywhere/{path}", f"{TRAIN[0]}/game.tw-pddl"):
        assert source.resolve(spelling) == TRAIN[0]
    for nonsense in ("", "trial_T1", "nowhere/task/trial", "goal:3"):
        with pytest.raises(DataError, match="not an ALFWorld task"):
            source.resolve(nonsense)


def test_games_are_parsed_once_and_shared(place: Path) -> None:
    source = AlfworldFiles(place)
    assert source.open(TRAIN[0]).game is source.open(TRAIN[0]).game


def test_unknown_tasks_and_splits_are_refused_by_name(place: Path) -> None:
    source = AlfworldFiles(place)
    with pytest.raises(DataError, match="train/none/none"):
        source.open("train/none/none")
    with pytest.raises(DataError, match="holiday"):
        source.ids("holiday")


def test_a_game_read_out_of_order_does_not_hide_the_others(archive: Path) -> None:
    source = AlfworldFiles(archive)
    assert source.open(TRAIN[1]).game.goal  # first in the archive
    assert source.open("valid_seen/look_at_obj_in_light-Apple-None-DeskLamp-1/trial_T3")
    assert source.open(TRAIN[0])
    assert source.ids("train") == TRAIN


def test_a_folder_without_its_game_file_is_counted(tree: Path) -> None:
    (tree / "json_2.1.1" / TRAIN[0] / "game.tw-pddl").unlink()
    source = AlfworldFiles(tree)
    assert source.ids("train") == TRAIN[1:]
    assert source.skipped["no game file"] == 1


def test_a_corrupt_game_stays_listed_and_names_itself_when_opened(tree: Path) -> None:
    (tree / "json_2.1.1" / TRAIN[0] / "game.tw-pddl").write_text("{broken")
    source = AlfworldFiles(tree)
    assert TRAIN[0] in source.ids("train")
    with pytest.raises(DataError, match=TRAIN[0]):
        source.open(TRAIN[0])


def test_a_cut_archive_names_itself_every_time(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-200])
    source = AlfworldFiles(archive)
    for _ in range(2):
        with pytest.raises(DataError, match=r"games\.tar\.xz") as refused:
            source.ids("train")
        assert "sha256" in refused.value.hint


def test_places_without_games_say_what_to_point_at(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("no archive")
    with pytest.raises(DataError, match="no such file or folder"):
        AlfworldFiles(tmp_path / "missing")
    with pytest.raises(DataError, match="no ALFWorld games"):
        AlfworldFiles(tmp_path / "empty")
    with pytest.raises(DataError, match=r"note\.txt"):
        AlfworldFiles(tmp_path / "note.txt").ids("train")
    with tarfile.open(tmp_path / "other.tar", "w"):
        pass
    with pytest.raises(DataError, match="holds no ALFWorld games"):
        AlfworldFiles(tmp_path / "other.tar").ids("train")
