"""The WebShop engine against recordings of the original program. Texts, actions, goals, order: exact."""

import hashlib

import pytest
from webshop_recordings import DATA, NEEDED

from hiper.envs.play import PlayRequest, play
from hiper.envs.webshop.catalogue import Catalogue, read_instructions
from hiper.envs.webshop.engine import WebShopEpisode
from hiper.envs.webshop.files import ShopFiles
from hiper.envs.webshop.goals import Seeds, SyntheticGoals, canonical_goal, draw_goals, goal_document
from hiper.envs.webshop.source import WebShopFiles
from hiper.envs.webshop.text import Observation

pytestmark = NEEDED


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


@pytest.fixture(scope="module")
def source() -> WebShopFiles:
    return WebShopFiles(DATA)


class TestEpisodes:
    @pytest.mark.parametrize(("mode", "recorded_as"), [(Observation.TEXT, "obs"), (Observation.TEXT_RICH, "obs_rich")])
    def test_every_recorded_step_is_reproduced_character_for_character(
        self, source: WebShopFiles, recorded: dict, mode: Observation, recorded_as: str
    ) -> None:
        for number, trace in enumerate(recorded["episodes"]):
            episode = WebShopEpisode(source.shop, trace["session"], max_steps=0, observation=mode)
            shown = episode.reset()
            for place, step in enumerate([trace["start"], *trace["steps"]]):
                shown = episode.step(step["action"]) if place else shown
                where = f"episode {number}, step {place}"
                assert shown.observation == step[recorded_as], where
                assert episode.url == step["url"], where
                offered = {"has_search_bar": shown.has_search_bar, "clickables": list(shown.admissible)}
                assert offered == step["available_actions"], where
                assert shown.reward == pytest.approx(step.get("reward", 0.0), abs=1e-9, rel=0), where
                assert shown.terminated == step.get("done", False), where

    def test_the_parts_of_every_reward_are_the_recorded_ones(self, source: WebShopFiles, recorded: dict) -> None:
        compared = 0
        for trace in recorded["episodes"]:
            episode = WebShopEpisode(source.shop, trace["session"], max_steps=0)
            for step in trace["steps"]:
                episode.step(step["action"])
            if "reward_parts" in trace:
                parts = {name: getattr(episode.reward_parts, name) for name in trace["reward_parts"]}
                assert parts == pytest.approx(trace["reward_parts"], abs=1e-9, rel=0)
                compared += 1
        assert compared >= 50

    def test_playing_goal_n_prints_the_recorded_episode(self, recorded: dict) -> None:
        trace = recorded["episodes"][0]
        request = PlayRequest("webshop", DATA, f"goal:{trace['session']}", max_steps=0, seed=233)
        lines = list(play(request, [step["action"] for step in trace["steps"]]))
        assert [line["observation"] for line in lines] == [
            trace["start"]["obs"],
            *(step["obs"] for step in trace["steps"]),
        ]
        assert lines[0]["admissible"] == ["search"]
        assert [line["has_search_bar"] for line in lines[:2]] == [True, False]


class TestTasks:
    def test_splits_hold_the_goals_peers_use_and_a_training_set_of_other_products(self, source: WebShopFiles) -> None:
        assert {split: len(source.ids(split)) for split in source.splits()} == {
            "train": 745,
            "train_compat": 6401,
            "test": 500,
        }

        def products(split: str) -> set[str]:
            return {task_id.split("/")[1] for task_id in source.ids(split)}

        assert len(products("train")) == 269
        assert not products("train") & products("test")
        assert not set(source.ids("train_compat")) & set(source.ids("test"))
