"""What a look at data finds: whole, altered, missing, of another version, or broken."""

import gzip
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from game_trees import game_file, game_id, write_game

from hiper.datasets import alfworld
from hiper.datasets.inspection import inspect_data
from hiper.envs.alfworld.source import AlfworldFiles
from hiper.envs.panels import make_panel
from hiper.envs.webshop.generator import CatalogueSpec, write_catalogue
from hiper.errors import ConfigError, DataError

SPLIT = "valid_seen"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four games that count as published."""
    for number in range(4):
        write_game(tmp_path, SPLIT, number)
    published = {task.id: task for task in make_panel(AlfworldFiles(tmp_path), "valid_seen").tasks}
    monkeypatch.setattr(alfworld, "_published_games", lambda: published)
    return tmp_path


def looked_at(tree: Path) -> dict[str, object]:
    (found,) = inspect_data(tree)
    assert json.loads(json.dumps(found.document())) == found.document()
    return dict(found.document())


def test_whole_data_has_no_problem(tree: Path) -> None:
    seen: list[tuple[int, int]] = []
    (found,) = inspect_data(tree, on_game=lambda *at: seen.append(at))
    assert seen == [(number, 4) for number in range(1, 5)]
    assert (found.env, found.problems, found.notes) == ("alfworld", [], [])
    assert found.document()["ok"] is True
    assert found.facts["splits"] == {"valid_seen": {"pick_and_place_simple": 4}}
    assert (found.facts["games"], found.facts["as_published"]) == (4, 4)
    assert found.summary[0].split() == ["task", "type", "valid_seen"]
    assert found.summary[-3].split() == ["all", "4"]


def test_every_fault_is_named_with_its_file(tree: Path) -> None:
    write_game(tree, SPLIT, 0, seed=99)
    game_file(tree, SPLIT, 1).write_text('{"pddl_domain": "(define')
    game_file(tree, SPLIT, 2).unlink()
    other = json.loads(game_file(tree, SPLIT, 3).read_text()) | {
        "pddl_domain": "(define (domain alfred) (:predicates))"
    }
    game_file(tree, SPLIT, 3).write_text(json.dumps(other))
    found = looked_at(tree)
    problems = {one["file"]: one["problem"] for one in found["problems"]}  # type: ignore[union-attr]
    assert [problems[f"{game_id(SPLIT, number)}/game.tw-pddl"].split(":")[0] for number in range(4)] == [
        "altered", "broken", "missing", "version unknown",
    ]  # fmt: skip
    assert found["ok"] is False
    assert sum(found["refused_versions"].values()) == 1  # type: ignore[union-attr]
    assert found["skipped"] == {"no game file": 1}


def test_the_version_that_is_refused_is_named(tree: Path) -> None:
    fields = json.loads(game_file(tree, SPLIT, 0).read_text())
    fields["pddl_domain"] = "(define (domain alfred))"
    fields["grammar"] = fields["grammar"].replace("action help", "action other")
    game_file(tree, SPLIT, 0).write_text(json.dumps(fields))
    found = looked_at(tree)
    assert found["refused_versions"] == {"2.1.1": 1}
    assert found["problems"][0]["problem"] == "version 2.1.1 is not played here"  # type: ignore[index]


def test_a_file_written_again_and_a_game_of_ones_own_are_no_problems(tree: Path) -> None:
    game_file(tree, SPLIT, 1).write_text(json.dumps(json.loads(game_file(tree, SPLIT, 1).read_text()), indent=1))
    write_game(tree, SPLIT, 7)
    found = looked_at(tree)
    assert (found["ok"], found["as_published"], found["written_again"]) == (True, 3, 1)
    assert found["notes"] == [
        {"file": f"{game_id(SPLIT, 7)}/game.tw-pddl", "problem": "not one of the published games"},
    ]


def test_games_nobody_published_are_not_missed(tree: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    write_game(mine, SPLIT, 50)
    assert looked_at(mine)["ok"] is True
    shutil.rmtree(game_file(tree, SPLIT, 3).parent)
    assert looked_at(tree)["ok"] is False, "a split that is here in part"


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        inspect_data(tmp_path / "nowhere")
    with pytest.raises(DataError, match="neither ALFWorld games nor a WebShop catalogue") as refused:
        inspect_data(tmp_path)
    assert "hiper data fetch" in refused.value.hint
    with pytest.raises(DataError, match="no ALFWorld games in this folder"):
        inspect_data(tmp_path, "alfworld")
    with pytest.raises(ConfigError, match="chess has no data"):
        inspect_data(tmp_path, "chess")
    (tmp_path / "broken.tar.xz").write_bytes(b"not an archive")
    with pytest.raises(DataError, match=r"broken\.tar\.xz: cannot be read as an archive"):
        inspect_data(tmp_path)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write_catalogue(tmp_path / "shop", CatalogueSpec(products=40, seed=3))
    return tmp_path / "shop"


def test_a_catalogue_of_ones_own_is_whole_and_noted(shop: Path) -> None:
    found = looked_at(shop)
    assert (found["ok"], found["env"], found["catalogue"], found["products"]) == (True, "webshop", "40", 40)
    names = ["items_shuffle_40.json", "items_ins_v2_40.json", "items_human_ins.json"]
    assert list(found["files"]) == [one["file"] for one in found["notes"]] == names  # type: ignore[call-overload,union-attr]
    first = found["files"]["items_shuffle_40.json"]  # type: ignore[index,call-overload]
    data = (shop / "items_shuffle_40.json").read_bytes()
    assert (first["bytes"], first["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert found["goals"] >= sum(found["splits"].values()) > 0  # type: ignore[operator,union-attr]


def test_a_packed_catalogue_has_the_hashes_of_its_contents(shop: Path) -> None:
    plain = looked_at(shop)["files"]
    for path in list(shop.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = looked_at(shop)["files"]
    assert list(packed.values()) == list(plain.values())  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["items_shuffle_40.json", "items_human_ins.json"])
def test_a_broken_file_of_a_catalogue_is_named(shop: Path, name: str) -> None:
    (shop / name).write_bytes((shop / name).read_bytes()[:-30])
    found = looked_at(shop)
    assert found["ok"] is False
    assert name in found["problems"][0]["problem"]  # type: ignore[index]


def test_a_catalogue_that_lacks_a_file_is_named(shop: Path) -> None:
    (shop / "items_ins_v2_40.json").unlink()
    with pytest.raises(DataError, match=r"items_ins_v2_40\.json is missing"):
        inspect_data(shop)


def test_everything_at_a_place_is_looked_at(tree: Path, shop: Path) -> None:
    shop.rename(tree / "webshop")
    assert [one.env for one in inspect_data(tree)] == ["alfworld", "webshop"]
    assert [one.env for one in inspect_data(tree, "webshop")] == ["webshop"]
    assert [one.env for one in inspect_data(tree / "webshop" / "items_shuffle_40.json")] == ["webshop"]
