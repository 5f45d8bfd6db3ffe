"""Panels: what a file fixes, how it is checked against data, and which ones are shipped."""

import gzip
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from archives import write_tar
from hypothesis import given
from hypothesis import strategies as st
from kitchens import document, write_games

from hiper.envs.alfworld.model import TaskType
from hiper.envs.alfworld.source import AlfworldFiles
from hiper.envs.alfworld.synthetic import SplitSpec, SyntheticAlfworld
from hiper.envs.panels import (
    Panel,
    PanelMismatchError,
    PanelTask,
    check_panel,
    dump_panel,
    find_shipped,
    first_difference,
    held_out_split,
    load_panel,
    make_panel,
    overlap,
    parse_panel,
    shipped_panels,
)
from hiper.errors import DataError

SEEN = "valid_seen/pick_and_place_simple-Apple-None-Fridge-1/trial_T{}"
GAMES = {SEEN.format(n): document(extra=[f"(isCool Apple_bar_{n})"] if n < 3 else []) for n in (1, 2, 3)}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def panel_of(*names: str, **fields: object) -> Panel:
    tasks = tuple(PanelTask(id=name, sha256=digest(name), seed=0) for name in names)
    base = {"name": "p", "version": 1, "env": "alfworld", "data": {"version": "1"}, "max_steps": 50, "tasks": tasks}
    return Panel(**{**base, **fields})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_games(tmp_path, GAMES)


def game_file(tree: Path, number: int) -> Path:
    return tree / "json_2.1.1" / SEEN.format(number) / "game.tw-pddl"


names = st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=6)
figures = st.fixed_dictionaries({"seed": st.integers(0, 2**63)}, optional={"price": st.floats(0, 1e6)})


@given(names, st.lists(figures, min_size=6, max_size=6), st.booleans())
def test_a_file_gives_back_the_panel_it_was_made_from(
    drawn: set[str], numbers: list[dict[str, float]], with_train: bool
) -> None:
    def tasks(kind: str) -> tuple[PanelTask, ...]:
        ids = sorted(f"{kind}/{name}" for name in drawn)
        return tuple(PanelTask(id=task, sha256=digest(task), **more) for task, more in zip(ids, numbers, strict=False))

    panel = panel_of(tasks=tasks("test"), train=tasks("train") if with_train else ())
    for compress in (False, True):
        data = dump_panel(panel, compress=compress)
        assert parse_panel(data, "p.json") == panel
        assert dump_panel(panel, compress=compress) == data


def test_the_hash_is_that_of_the_canonical_json_without_it() -> None:
    document = json.loads(dump_panel(panel_of("a", "b")))
    stated = document.pop("panel_sha256")
    assert stated == digest(json.dumps(document, sort_keys=True, separators=(",", ":")))
    assert document["tasks"] == [{"id": name, "sha256": digest(name), "seed": 0} for name in ("a", "b")]
    assert (document["panel"], document["version"], document["max_steps"]) == ("p", 1, 50)


@given(names, names, st.booleans())
def test_no_panel_has_a_task_both_evaluated_and_trained_on(one: set[str], other: set[str], renamed: bool) -> None:
    tested = tuple(PanelTask(id=name, sha256=digest(name), seed=0) for name in sorted(one))
    ids = {f"again {name}" if renamed else name: name for name in other}
    train = tuple(PanelTask(id=task, sha256=digest(name), seed=0) for task, name in sorted(ids.items()))
    if one & other:
        with pytest.raises(ValueError, match="is both evaluated and trained on"):
            panel_of(tasks=tested, train=train)
        assert overlap(tested, train) in one & other
    else:
        assert panel_of(tasks=tested, train=train).training().tasks == train


def changed(**fields: object) -> bytes:
    tree = json.loads(dump_panel(panel_of("a", "b"))) | fields
    return json.dumps({key: value for key, value in tree.items() if value is not None}).encode()


TASK_A, TASK_B = ({"id": name, "sha256": digest(name), "seed": 0} for name in ("a", "b"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["Expecting value"]),
        (b"[1]", ["not a JSON object"]),
        (b"\xff\xfe", ["not a panel"]),
        (gzip.compress(dump_panel(panel_of("a")))[:-12], ["not a panel"]),
        (changed(tasks=[]), ["tasks"]),
        (changed(env=None), ["env", "Field required"]),
        (changed(version=2), ["version"]),
        (changed(colour="red"), ["colour"]),
        (changed(tasks=[{**TASK_A, "sha256": "abc"}]), ["tasks.0.sha256"]),
        (changed(tasks=[TASK_B, TASK_A]), ["not sorted", "'a' after 'b'"]),
        (changed(tasks=[TASK_A, TASK_A]), ["not sorted"]),
        (changed(train=[TASK_B]), ["'b' is both evaluated and trained on"]),
        (changed(train=[{**TASK_B, "id": "c"}]), ["'b' is both evaluated and trained on"]),
        (changed(max_steps=30), ["changed after it was made"]),
        (changed(panel_sha256=None), ["has no panel_sha256"]),
    ],
)
def test_a_file_that_is_no_panel_is_refused_by_name(data: bytes, words: list[str]) -> None:
    with pytest.raises(DataError, match=r"mine\.json") as refused:
        parse_panel(data, "mine.json")
    assert all(word in refused.value.message for word in words), refused.value.message
    assert "hiper env panel make" in refused.value.hint


def test_a_panel_fits_the_data_it_was_made_from(tree: Path) -> None:
    panel = make_panel(AlfworldFiles(tree), "valid_seen")
    assert panel.name == "alfworld-synthetic-valid_seen"
    assert [task.id for task in panel.tasks] == sorted(GAMES)
    assert panel.tasks[0].sha256 == hashlib.sha256(game_file(tree, 1).read_bytes()).hexdigest()
    match = check_panel(panel, AlfworldFiles(tree))
    assert (match.tasks, match.by_bytes, match.by_content) == (3, 3, 0)


def test_a_game_written_again_fits_by_its_texts(tree: Path) -> None:
    panel = make_panel(AlfworldFiles(tree), "valid_seen")
    file = game_file(tree, 2)
    file.write_text(json.dumps(json.loads(file.read_text()), indent=2, sort_keys=True))
    match = check_panel(panel, AlfworldFiles(tree))
    assert (match.by_bytes, match.by_content) == (2, 1)


def test_a_panel_says_what_to_train_on_if_nothing_is_in_both() -> None:
    source = SyntheticAlfworld(SplitSpec(train=6, valid=3))
    panel = make_panel(source, "valid", train="train", name="both")
    assert panel.training() == make_panel(source, "train", name="both/train")
    assert (panel.tasks, panel.name) == (make_panel(source, "valid").tasks, "both")
    assert check_panel(panel, source).tasks == 9
    with pytest.raises(DataError, match="of split 'valid' is also in split 'valid'"):
        make_panel(source, "valid", train="valid")
    with pytest.raises(DataError, match="no split 'holiday'"):
        make_panel(source, "valid", train="holiday")


@given(st.permutations(sorted(GAMES)))
def test_a_panel_does_not_depend_on_the_order_of_files(order: list[str]) -> None:
    files = ((f"json_2.1.1/{name}/game.tw-pddl", json.dumps(GAMES[name]).encode()) for name in order)
    with tempfile.TemporaryDirectory() as folder:
        archive = write_tar(Path(folder) / "games.tar", files, "w")
        panel = make_panel(AlfworldFiles(archive), "valid_seen")
    assert [task.id for task in panel.tasks] == sorted(GAMES)
    assert {task.id: task.sha256 for task in panel.tasks} == {
        name: digest(json.dumps(content)) for name, content in GAMES.items()
    }


def test_an_altered_game_is_named(tree: Path) -> None:
    panel = make_panel(AlfworldFiles(tree), "valid_seen")
    game_file(tree, 2).write_text(json.dumps(document("heat")))
    with pytest.raises(PanelMismatchError, match=rf"{SEEN.format(2)}/game\.tw-pddl differs") as refused:
        check_panel(panel, AlfworldFiles(tree))
    assert "hiper data check" in refused.value.hint
    game_file(tree, 1).unlink()
    with pytest.raises(PanelMismatchError, match=rf"{SEEN.format(1)}/game\.tw-pddl is missing; 1 more of 3"):
        check_panel(panel, AlfworldFiles(tree))


def test_a_damaged_game_is_named(tree: Path) -> None:
    panel = make_panel(AlfworldFiles(tree), "valid_seen")
    game_file(tree, 3).write_text('{"pddl_domain": ')
    with pytest.raises(DataError, match=SEEN.format(3)):
        check_panel(panel, AlfworldFiles(tree))


def test_other_data_is_named_by_the_field_that_differs(tree: Path) -> None:
    panel = make_panel(AlfworldFiles(tree), "valid_seen")
    with pytest.raises(PanelMismatchError, match=r"data\.domain_sha256 is not known here"):
        check_panel(panel, SyntheticAlfworld())
    with pytest.raises(PanelMismatchError, match=r"data\.version is synthetic here and 2\.1\.2 in the panel"):
        check_panel(load_panel("alfworld-2.1.2-valid_seen"), AlfworldFiles(tree))


def test_a_figure_that_was_drawn_otherwise_is_named(tree: Path) -> None:
    source = AlfworldFiles(tree)
    panel = make_panel(source, "valid_seen")
    priced = panel.model_copy(update={"tasks": (panel.tasks[0].model_copy(update={"price": 2.0}), *panel.tasks[1:])})
    pins = source.pin

    class Priced(AlfworldFiles):
        def pin(self, task_id: str, *, full: bool = False):
            pin = pins(task_id, full=full)
            return replace(pin, figures={"price": 2.5}) if full else pin

    with pytest.raises(PanelMismatchError, match=r"price 2\.5 here, 2\.0 in the panel"):
        check_panel(priced, Priced(tree))


def test_what_differs_between_two_panels() -> None:
    one = panel_of("a", "b")
    assert first_difference(one, panel_of("a", "b")) == ""
    assert first_difference(one, panel_of("a")) == "b is in the first only"
    assert first_difference(one, panel_of("a", "b", max_steps=30)) == "max_steps: 50 and 30"
    other = Panel.model_validate({**one.document(), "tasks": [TASK_A, {**TASK_B, "seed": 4}]})
    assert first_difference(one, other) == "b: seed 0 and 4"


def test_a_part_of_a_panel_is_another_panel() -> None:
    panel = panel_of("a", "b", "c")
    part = panel.subset({"c", "a"})
    assert ([task.id for task in part.tasks], part.name) == (["a", "c"], "p (2 of 3)")
    assert part.sha256 != panel.sha256
    assert panel.subset({"a", "b", "c", "d"}) is panel


def test_the_training_half_is_a_panel_too() -> None:
    train = panel_of("t").tasks
    panel = panel_of("a", train=train)
    assert (panel.training().name, panel.training().tasks, panel.training().train) == ("p/train", train, ())
    assert panel_of("a").training() == panel_of("a")


def test_held_out_split_by_data() -> None:
    assert held_out_split(["train", "valid_seen", "valid_unseen"]) == "valid_seen"
    assert held_out_split(["train", "valid"]) == "valid"
    assert held_out_split(["test", "train"]) == "test"
    with pytest.raises(DataError, match="train"):
        held_out_split(["train"])


def test_shipped_panels_have_the_tasks_of_the_specification() -> None:
    sizes = {"train": 3553, "valid_seen": 140, "valid_unseen": 134, "valid_train": 200}
    panels = {split: load_panel(f"alfworld-2.1.2-{split}") for split in sizes}
    assert {split: len(panel.tasks) for split, panel in panels.items()} == sizes
    for split, panel in panels.items():
        assert all(task.id.startswith(f"{split}/") for task in panel.tasks)
        assert panel == find_shipped("alfworld", panel.data, split)
        others = [task for other in panels.values() if other is not panel for task in other.tasks]
        assert overlap(panel.tasks, others) is None
    kinds = [kind.value for kind in TaskType]
    seen = [task.id.split("/")[1].partition("-")[0] for task in panels["valid_seen"].tasks]
    assert [seen.count(kind) for kind in kinds] == [35, 13, 27, 16, 25, 24]


def products(tasks: Sequence[PanelTask]) -> set[str]:
    return {task.id.split("/")[1] for task in tasks}


def test_shipped_shop_panels_train_on_other_goals_or_on_other_products() -> None:
    by_product, compat = (load_panel(f"webshop-1000-{kind}") for kind in ("products", "compat"))
    assert by_product.tasks == compat.tasks
    assert len(by_product.tasks) == 500
    assert (len(by_product.train), len(products(by_product.train))) == (745, 269)
    assert not products(by_product.tasks) & products(by_product.train)
    assert products(compat.tasks) & products(compat.train)
    assert overlap(compat.tasks, compat.train) is None
    assert set(by_product.train) < set(compat.train)
    assert (compat.data["price_seed"], compat.data["order_seed"], compat.max_steps) == ("20240601", "233", 15)
    assert all(task.figures.keys() == {"price", "price_upper", "ceiling"} for task in compat.tasks)
    assert sum(task.ceiling is not None and task.ceiling < 1 for task in compat.tasks) == 20


def test_the_default_panel_is_for_the_same_data_rules_and_training() -> None:
    panel = load_panel("webshop-1000-products")
    assert find_shipped("webshop", panel.data, "test") == panel
    assert find_shipped("webshop", panel.data, "test", "train_compat") == load_panel("webshop-1000-compat")
    assert find_shipped("webshop", {**panel.data, "nouns": "another rule"}, "test") is None
    assert find_shipped("webshop", {**panel.data, "items_sha256": "0" * 64}, "test") == panel, "it stops the run"
    assert find_shipped("webshop", panel.data, "train") is None


def test_every_shipped_panel_is_whole_and_named_like_its_file() -> None:
    for name in shipped_panels():
        assert load_panel(name).name == name


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("synth-alfworld-demo-valid", SplitSpec()),
        ("synth-alfworld-12-valid", SplitSpec(size=12, types=tuple(TaskType), train=1, valid=48)),
    ],
)
def test_the_generator_still_makes_the_shipped_games(name: str, spec: SplitSpec) -> None:
    assert check_panel(load_panel(name), SyntheticAlfworld(spec)).by_content == 0


def test_a_panel_by_name_or_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(dump_panel(panel_of("a")))
    assert load_panel(str(path)) == panel_of("a")
    with pytest.raises(DataError, match=r"no panel 'alfworld-2\.1\.2-valid_see'") as refused:
        load_panel("alfworld-2.1.2-valid_see")
    assert "did you mean 'alfworld-2.1.2-valid_seen'?" in refused.value.hint
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        load_panel(str(tmp_path / "none.json"))
