"""The ALFWorld engine against recordings of the original program, and every shipped plan. Tolerance: none."""

import gzip
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hiper.envs.alfworld.engine import AlfworldEpisode
from hiper.envs.alfworld.game import parse_game
from hiper.envs.alfworld.source import AlfworldFiles

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HIPER_DATA", ROOT / "../shared/data")) / "alfworld"
GOLDEN = Path(os.environ.get("HIPER_GOLDEN", ROOT / "../shared/golden")) / "alfworld_steps.json.gz"
ARCHIVE = "alfworld_json_2.1.2_tw-pddl_all_4027.tar.xz"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="no ALFWorld game files: set HIPER_DATA or have ../shared/data"),
]


def recorded_games() -> list[dict]:
    if not GOLDEN.is_file():
        return []
    with gzip.open(GOLDEN, "rt", encoding="utf-8") as file:
        return json.load(file)["games"]


GAMES = recorded_games()


@pytest.fixture(scope="module")
def source() -> AlfworldFiles:
    return AlfworldFiles(DATA)


@pytest.mark.skipif(not GAMES, reason="no recordings: set HIPER_GOLDEN or have ../shared/golden")
class TestRecordings:
    @pytest.mark.parametrize("game", GAMES, ids=lambda game: game["id"])
    def test_every_recorded_step_is_reproduced_byte_for_byte(self, source: AlfworldFiles, game: dict) -> None:
        info = source.describe(game["id"])
        assert (info.sha256, info.split, info.task_type) == (game["sha256"], game["split"], game["task_type"])
        for trace in game["traces"]:
            episode = source.open(game["id"], max_steps=0)
            first = episode.reset()
            assert (first.observation, list(first.admissible)) == (trace["obs"], trace["admissible"])
            for number, step in enumerate(trace["steps"], start=1):
                got = episode.step(step["action"])
                where = f"{trace['kind']} step {number}: {step['action']!r}"
                assert got.observation == step["obs"], where
                assert list(got.admissible) == step["admissible"], where
                assert (got.won, got.done, got.score) == (step["won"], step["done"], step["score"]), where

    def test_the_recordings_cover_what_they_are_meant_to(self) -> None:
        traces = [trace for game in GAMES for trace in game["traces"]]
        assert {trace["kind"] for trace in traces} == {"walkthrough", "mixed", "scripted_random", "edge"}
        assert (len(traces), sum(len(trace["steps"]) for trace in traces)) == (84, 1515)


def game_files() -> Iterator[tuple[str, bytes]]:
    with tarfile.open(DATA / ARCHIVE) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, file.read()


@pytest.mark.slow
def test_all_4027_walkthroughs_win_in_games_of_the_type_their_folder_names() -> None:
    won = 0
    for name, data in game_files():
        game = parse_game(data, name)
        assert name.split("/")[2].startswith(f"{game.task_type}-"), name
        episode = AlfworldEpisode(game)
        results = [episode.step(command) for command in game.walkthrough]
        assert all(result.action_valid for result in results), name
        assert [result.won for result in results] == [False] * (len(results) - 1) + [True], name
        won += 1
    assert won == 4027


@pytest.mark.slow
def test_the_archive_lists_the_published_splits(source: AlfworldFiles) -> None:
    assert {split: len(source.ids(split)) for split in source.splits()} == {
        "train": 3553,
        "valid_seen": 140,
        "valid_unseen": 134,
        "valid_train": 200,
    }
    assert source.skipped == {}
    assert source.version == "2.1.2"
    for split in source.splits():
        assert source.ids(split) == sorted(source.ids(split))
