"""WebShop's tasks: generated catalogues, splits, ids, pins and panels, and both ways to play them."""

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from hiper.config.sections import EnvSettings, WebShopSettings
from hiper.envs.base import TaskSource
from hiper.envs.configured import open_configured_source
from hiper.envs.panels import check_panel, dump_panel, make_panel, parse_panel
from hiper.envs.play import PlayRequest, play
from hiper.envs.webshop.engine import WebShopEpisode
from hiper.envs.webshop.generator import CatalogueSpec, offers, write_catalogue
from hiper.envs.webshop.goals import goal_sha256
from hiper.envs.webshop.shopper import walkthrough
from hiper.envs.webshop.source import WebShopFiles
from hiper.envs.webshop.synthetic import SyntheticWebShop
from hiper.errors import ConfigError, DataError

SPEC = CatalogueSpec(120)


@pytest.fixture(scope="module")
def tasks() -> SyntheticWebShop:
    return SyntheticWebShop(SPEC, held_out=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_catalogue(folder, SPEC)
    return folder


class TestGeneratedCatalogue:
    def test_every_goal_is_found_by_its_title_and_its_purchase_scores_one(self, tasks: SyntheticWebShop) -> None:
        for number in range(len(tasks.shop.goals)):
            actions = walkthrough(tasks.shop, tasks.shop.goals[number])
            assert actions is not None, tasks.shop.goals[number]
            episode = WebShopEpisode(tasks.shop, number, max_steps=0)
            assert [episode.step(action) for action in actions][-1].won, tasks.shop.goals[number]

    def test_it_has_what_real_catalogues_have(self) -> None:
        items = [offer.item for offer in offers(CatalogueSpec(400))]
        values = [
            [entry["value"] for entry in entries]
            for item in items
            for entries in (item["customization_options"] or {}).values()
            if entries is not None
        ]
        assert {item["pricing"].count("$") for item in items} == {0, 1, 2}
        assert {type(item["small_description"]) for item in items} == {str, list}
        assert any(item["full_description"] == "" for item in items)
        assert any(item["customization_options"] == "" for item in items)
        assert any(None in (item["customization_options"] or {}).values() for item in items)
        assert any("/" in value for row in values for value in row)
        assert any(not value.isascii() for row in values for value in row)
        assert any(len(set(row)) < len(row) for row in values)
        assert 20 <= len({item["query"] for item in items}) <= 50
        assert all(6 <= len(item["name"].split()) <= 20 for item in items)
        assert len({item["asin"] for item in items}) == len(items)

    def test_the_same_seed_gives_the_same_bytes_in_another_process(self, folder: Path, tmp_path: Path) -> None:
        code = (
            "import sys; from pathlib import Path; from hiper.envs.webshop.generator import *\n"
            "write_catalogue(Path(sys.argv[1]), CatalogueSpec(120))"
        )
        environment = {**os.environ, "PYTHONHASHSEED": "7"}
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment, timeout=60)
        for file in folder.iterdir():
            assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name

    def test_products_do_not_depend_on_the_size_of_the_catalogue(self) -> None:
        assert list(islice(offers(CatalogueSpec(100_000)), 5)) == list(offers(CatalogueSpec(5)))
        assert list(offers(CatalogueSpec(5, seed=1))) != list(offers(CatalogueSpec(5)))


class TestTasks:
    def test_the_files_of_a_generated_catalogue_hold_the_same_goals(
        self, tasks: SyntheticWebShop, folder: Path
    ) -> None:
        files = WebShopFiles(folder)
        assert [goal_sha256(files.shop.goals[number]) for number in range(len(files.shop.goals))] == [
            goal_sha256(tasks.shop.goals[number]) for number in range(len(tasks.shop.goals))
        ]
        assert files.fingerprint()["items_sha256"] == tasks.fingerprint()["items_sha256"]

    def test_no_product_of_the_test_split_is_trained_on(self, tasks: SyntheticWebShop) -> None:
        test, train, compat = (set(tasks.ids(split)) for split in ("test", "train", "train_compat"))
        products = {task_id.split("/")[1] for task_id in test}
        assert len(test) == 40
        assert train < compat
        assert not test & compat
        assert not {task_id.split("/")[1] for task_id in train} & products
        assert all(tasks.ids(split) == sorted(tasks.ids(split)) for split in tasks.splits())
        assert {tasks.pin(task_id).split for task_id in train} == {"train"}
        assert {tasks.describe(task_id).split for task_id in compat} == {"train", "train_compat"}
        assert {tasks.pin(task_id).split for task_id in test} == {"test"}

    def test_goal_n_is_the_nth_goal_of_the_order(self, tasks: SyntheticWebShop) -> None:
        task_id = tasks.resolve("goal:7")
        assert tasks.describe(task_id).goal == tasks.shop.goals[7].instruction_text
        assert tasks.resolve(task_id) == task_id
        assert tasks.open(task_id).goal == tasks.shop.goals[7]
        other = SyntheticWebShop(SPEC, seed=1)
        assert other.resolve("goal:7") != task_id
        assert set(other.ids("test")) != set(SyntheticWebShop(SPEC).ids("test"))

    def test_a_task_is_found_without_a_listing(self, tasks: SyntheticWebShop) -> None:
        task_id = tasks.ids("train")[0]
        assert SyntheticWebShop(SPEC).open(task_id).goal == tasks.open(task_id).goal

    @pytest.mark.parametrize(
        "task", ["goal:", "goal:-1", "goal:x", "goal:99999999999999999999", "goal:٣", "nothing", "", "a/b/c" * 100]
    )
    def test_what_is_no_task_is_one_error(self, tasks: SyntheticWebShop, task: str) -> None:
        with pytest.raises(DataError):
            tasks.resolve(task)

    def test_tasks_of_other_catalogues_and_unknown_hashes_are_one_error(self, tasks: SyntheticWebShop) -> None:
        with pytest.raises(DataError, match="not from the catalogue synth-webshop-120-0"):
            tasks.resolve("webshop-1000/B000000000/0123456789abcdef")
        with pytest.raises(DataError, match="no task"):
            tasks.open("synth-webshop-120-0/B000000000/0123456789abcdef")
        with pytest.raises(DataError, match="no split"):
            tasks.ids("valid")

    def test_human_goals_are_what_people_asked_for(self, folder: Path) -> None:
        people = WebShopFiles(folder, human_goals=True)
        asked = json.loads((folder / "items_human_ins.json").read_text())
        texts = {entry["instruction"].strip(".") for entries in asked.values() for entry in entries}
        for number in range(len(people.shop.goals)):
            assert people.shop.goals[number].instruction_text.partition(", and price lower")[0] in texts
        assert people.version == "120-human"
        (folder / "items_human_ins.json").rename(folder / "moved")
        try:
            with pytest.raises(DataError, match="items_human_ins"):
                WebShopFiles(folder, human_goals=True)
        finally:
            (folder / "moved").rename(folder / "items_human_ins.json")

    def test_it_is_a_task_source(self, tasks: SyntheticWebShop) -> None:
        assert isinstance(tasks, TaskSource)


class TestPanels:
    def test_a_panel_fixes_goal_price_limit_and_ceiling(self, tasks: SyntheticWebShop) -> None:
        panel = parse_panel(dump_panel(make_panel(tasks, "test")), "it")
        task = panel.tasks[0]
        goal = tasks.open(task.id).goal
        assert task.sha256 == goal_sha256(goal)
        assert (task.price_upper, task.ceiling) == (goal.price_upper, 1.0)
        assert task.price is not None
        assert panel.data["nouns"] == "words-1"
        assert check_panel(panel, tasks).tasks == 40

    def test_a_panel_does_not_fit_other_draws(self, tasks: SyntheticWebShop) -> None:
        panel = make_panel(tasks, "test")
        with pytest.raises(DataError, match=r"data\.order_seed is 5 here and 233 in the panel"):
            check_panel(panel, SyntheticWebShop(SPEC, seed=5, held_out=40))


def test_playing_prints_the_lines_of_the_contract(folder: Path) -> None:
    request = PlayRequest("webshop", folder, "goal:0", max_steps=2)
    first, second, third = play(request, ["search[lamp]", "dance"])
    assert list(first) == [
        "step",
        "action",
        "observation",
        "admissible",
        "has_search_bar",
        "reward",
        "terminated",
        "truncated",
        "won",
        "score",
    ]
    assert (first["admissible"], first["has_search_bar"]) == (["search"], True)
    assert (second["has_search_bar"], second["truncated"]) == (False, False)
    assert (third["observation"], third["truncated"]) == (second["observation"], True)


def test_a_generated_task_is_played_in_the_catalogue_its_id_names() -> None:
    task = SyntheticWebShop(CatalogueSpec(60, seed=4)).resolve("goal:0")
    (first,) = play(PlayRequest("webshop", None, task, observation="text_rich"), [])
    assert str(first["observation"]).endswith("[button] Search [button_]\n")


def test_observation_modes_are_webshops_and_known() -> None:
    with pytest.raises(ConfigError, match="no observation mode 'html'"):
        next(play(PlayRequest("webshop", None, "goal:0", observation="html"), []))
    with pytest.raises(ConfigError, match="alfworld has no observation modes"):
        next(play(PlayRequest("alfworld", None, "x", observation="text"), []))


def test_a_catalogue_nobody_asks_for_anything_in_is_one_error() -> None:
    with pytest.raises(DataError, match="has no goals"):
        SyntheticWebShop(CatalogueSpec(1, seed=2))


def test_settings_choose_the_catalogue_and_what_is_held_out() -> None:
    shop = {"synthetic_products": 60, "synthetic_seed": 4, "observation": "text_rich", "option_rule": "exact_counts"}
    source = open_configured_source(EnvSettings(name="webshop", synthetic_valid=10, webshop=WebShopSettings(**shop)))
    assert len(source.ids("test")) == 10
    assert source.fingerprint()["catalogue"] == "synth-webshop-60-4"
    assert source.fingerprint()["option_rule"] == "exact_counts"
    assert source.open(source.ids("test")[0]).reset().observation.endswith("[button_]\n")
