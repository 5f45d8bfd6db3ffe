"""The WebShop engine against recordings of the original program. Texts, actions, goals, order: exact."""

import gzip
import hashlib
import json
import os
from pathlib import Path

import pytest

from hiper.envs.webshop.catalogue import Catalogue, open_catalogue, read_instructions
from hiper.envs.webshop.files import ShopFiles, find_files
from hiper.envs.webshop.goals import Seeds, SyntheticGoals, canonical_goal, draw_goals, goal_document

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HIPER_DATA", ROOT / "../shared/data")) / "webshop"
GOLDEN = Path(os.environ.get("HIPER_GOLDEN", ROOT / "../shared/golden")) / "webshop_episodes.json.gz"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="no WebShop files: set HIPER_DATA or have ../shared/data"),
    pytest.mark.skipif(not GOLDEN.is_file(), reason="no recordings: set HIPER_GOLDEN or have ../shared/golden"),
]


@pytest.fixture(scope="module")
def recorded() -> dict:
    with gzip.open(GOLDEN, "rt", encoding="utf-8") as file:
        return json.load(file)


@pytest.fixture(scope="module")
def files() -> ShopFiles:
    return find_files(DATA)


@pytest.fixture(scope="module")
def catalogue(files: ShopFiles) -> Catalogue:
    return open_catalogue(files)


class TestGoals:
    def test_every_price_is_drawn_as_recorded(self, catalogue: Catalogue, recorded: dict) -> None:
        prices, _ = draw_goals(catalogue, Seeds())
        drawn = {product.asin: price for product, price in zip(catalogue, prices, strict=True)}
        assert drawn == pytest.approx(recorded["product_prices"], abs=1e-9, rel=0)

    def test_all_6910_synthetic_goals_are_the_recorded_ones_in_order(
        self, catalogue: Catalogue, recorded: dict
    ) -> None:
        _, goals = draw_goals(catalogue, Seeds())
        assert isinstance(goals, SyntheticGoals)
        made = [goal_document(goal) | {"weight": goals.weight(goal)} for goal in map(goals.__getitem__, range(6910))]
        assert len(goals) == 6910
        assert [[goal[field] for field in recorded["goal_fields"]] for goal in made] == recorded["goals"]
        assert hashlib.sha256(canonical_goal(made).encode()).hexdigest() == recorded["goals_sha256"]

    def test_human_goals_are_the_recorded_ones_in_order(
        self, files: ShopFiles, catalogue: Catalogue, recorded: dict
    ) -> None:
        assert files.human is not None
        _, goals = draw_goals(catalogue, Seeds(), read_instructions(files.human))
        made = [goal_document(goals[number]) | {"weight": 1} for number in range(len(goals))]
        assert made == recorded["human_goals"]
