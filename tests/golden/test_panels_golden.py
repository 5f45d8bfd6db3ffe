"""The shipped panels against the real data: every game's bytes, by two independent lists, and every goal."""

import gzip
import json
import os
from pathlib import Path

import pytest

from hiper.envs.alfworld.source import AlfworldFiles
from hiper.envs.alfworld.storage import SPLITS
from hiper.envs.panels import check_panel, first_difference, load_panel, make_panel
from hiper.envs.webshop.source import WebShopFiles

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HIPER_DATA", ROOT / "../shared/data"))

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="no data: set HIPER_DATA or have ../shared/data"),
]


@pytest.fixture(scope="module")
def source() -> AlfworldFiles:
    return AlfworldFiles(DATA / "alfworld")


@pytest.mark.parametrize("split", SPLITS)
def test_every_game_fits_its_shipped_panel_by_its_bytes(source: AlfworldFiles, split: str) -> None:
    panel = load_panel(f"alfworld-2.1.2-{split}")
    match = check_panel(panel, source)
    assert (match.tasks, match.by_content) == (len(source.ids(split)), 0)


def test_a_panel_made_again_is_the_shipped_one(source: AlfworldFiles) -> None:
    assert make_panel(source, "valid_unseen") == load_panel("alfworld-2.1.2-valid_unseen")


def test_the_list_that_comes_with_the_data_says_the_same() -> None:
    with gzip.open(DATA / "alfworld" / "games_index.jsonl.gz", "rt", encoding="utf-8") as file:
        listed = {game["id"]: game["sha256"] for game in map(json.loads, file)}
    panels = [load_panel(f"alfworld-2.1.2-{split}") for split in SPLITS]
    assert {task.id: task.sha256 for panel in panels for task in panel.tasks} == listed


@pytest.mark.parametrize(("kind", "train"), [("products", "train"), ("compat", "train_compat")])
def test_a_shops_panel_made_again_is_the_shipped_one(kind: str, train: str) -> None:
    """If the shop's rules changed on purpose: scripts/make_panels.py."""
    source = WebShopFiles(DATA / "webshop")
    shipped = load_panel(f"webshop-1000-{kind}")
    made = make_panel(source, "test", train=train, name=shipped.name, max_steps=15)
    assert first_difference(made, shipped) == ""
    assert check_panel(shipped, source).by_bytes == len(shipped.tasks) + len(shipped.train)


def test_the_held_out_goals_are_the_first_500_of_the_original_order() -> None:
    source = WebShopFiles(DATA / "webshop")
    panel = load_panel("webshop-1000-compat")
    assert {task.id for task in panel.tasks} == {source.resolve(f"goal:{number}") for number in range(500)}
