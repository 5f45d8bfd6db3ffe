"""Which panels a run plays, and what stops it before it begins."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from panels_made import made_panel, made_panels, made_pins

from hiper.config import RunConfig, parse_config
from hiper.envs.base import TaskPin
from hiper.envs.panels import Panel, PanelMismatchError, dump_panel, load_panel
from hiper.errors import DataError, RunStateError
from hiper.rpc.env_client import EnvInfo
from services.learner.panels import RunPanels, choose_panels, keep_panels


@dataclass
class Servers:
    """Env servers that host made-up tasks."""

    splits: dict[str, list[TaskPin]]
    version: str = "made up"
    content: dict[str, str] = field(default_factory=dict)
    """Second hashes, by task."""
    asked_full: list[str] = field(default_factory=list)

    async def info(self) -> EnvInfo:
        sizes = {split: len(pins) for split, pins in self.splits.items()}
        return EnvInfo("alfworld", self.version, "i", 0, sizes, {"version": self.version})

    async def list_tasks(self, split: str) -> list[TaskPin]:
        return self.splits[split]

    async def pin_tasks(self, task_ids: Sequence[str], *, full: bool = False) -> dict[str, TaskPin]:
        self.asked_full += task_ids if full else []
        known = {pin.task_id: pin for pins in self.splits.values() for pin in pins}
        pins = {task_id: known[task_id] for task_id in task_ids if task_id in known}
        return {t: replace(pin, content_sha256=self.content.get(t, "")) for t, pin in pins.items()} if full else pins


def servers(**sizes: int) -> Servers:
    return Servers({split: made_pins(split, size) for split, size in (sizes or {"train": 10, "valid": 8}).items()})


def config(**tree) -> RunConfig:
    return parse_config({"run": "r", **tree}, source="test", environment={})


async def chosen(env: Servers, /, **tree) -> RunPanels:
    return await choose_panels(config(**tree), env)


def written(tmp_path: Path, panel: Panel, name: str = "mine.json") -> str:
    path = tmp_path / name
    path.write_bytes(dump_panel(panel))
    return str(path)


def ids(panel: Panel) -> list[str]:
    return [task.id for task in panel.tasks]


async def test_without_a_named_panel_the_splits_are_played_as_they_are() -> None:
    panels = await chosen(servers())
    assert (ids(panels.train), ids(panels.evaluation)) == (ids(made_panel("train", 10)), ids(made_panel("valid", 8)))
    assert (panels.evaluation.name, panels.split) == ("alfworld-made up-valid", "valid")
    assert panels.hashes == (await chosen(servers(), seed=5)).hashes, "the run's seed changes no panel"


async def test_the_held_out_split_follows_from_the_data() -> None:
    assert (await chosen(servers(train=2, valid_seen=3, valid_unseen=4))).split == "valid_seen"
    assert (await chosen(servers(train=2, valid_seen=3, other=4), evaluation={"split": "other"})).split == "other"
    with pytest.raises(DataError, match="no split 'holiday' here") as refused:
        await chosen(servers(), evaluation={"split": "holiday"})
    assert "train, valid" in refused.value.hint


async def test_a_named_panel_is_held_against_the_data(tmp_path: Path) -> None:
    mine = written(tmp_path, made_panel("valid", 3))
    panels = await chosen(servers(), evaluation={"panel": mine}, env={"max_steps": 50})
    assert ids(panels.evaluation) == ["valid/0", "valid/1", "valid/2"]
    assert panels.evaluation.sha256 == made_panel("valid", 3).sha256


async def test_a_task_that_differs_stops_the_run_by_name(tmp_path: Path) -> None:
    mine = written(tmp_path, made_panel("valid", 3))
    env = servers()
    env.splits["valid"][1] = replace(env.splits["valid"][1], sha256="0" * 64)
    with pytest.raises(PanelMismatchError, match="valid/1 differs: sha256 0000000000000000 here"):
        await chosen(env, evaluation={"panel": mine})
    assert env.asked_full == ["valid/1"], "only what differs is opened"
    del env.splits["valid"][1]
    with pytest.raises(PanelMismatchError, match="valid/1 is missing"):
        await chosen(env, evaluation={"panel": mine})


async def test_a_file_written_again_is_the_same_task(tmp_path: Path) -> None:
    document = made_panel("valid", 3).document()
    document["tasks"][1] |= {"content_sha256": "c" * 64, "sha256": "0" * 64}
    panel = Panel.model_validate(document)
    env = servers()
    env.content = {"valid/1": "c" * 64}
    panels = await chosen(env, evaluation={"panel": written(tmp_path, panel)})
    assert panels.evaluation == panel


async def test_data_of_another_version_stops_the_run_by_field() -> None:
    with pytest.raises(PanelMismatchError, match=r"data\.version is made up here and 2\.1\.2 in the panel"):
        await chosen(servers(), evaluation={"panel": "alfworld-2.1.2-valid_seen"})


async def test_shipped_panels_are_the_default_for_their_data() -> None:
    env = servers(train=3, valid_seen=3)
    env.version = "2.1.2"
    with pytest.raises(PanelMismatchError, match=r"panel alfworld-2\.1\.2-valid_seen does not fit"):
        await chosen(env)


async def test_training_follows_the_evaluations_panel(tmp_path: Path) -> None:
    train = made_panel("train", 4).document()["tasks"]
    panel = Panel.model_validate({**made_panel("valid", 3).document(), "train": train})
    mine = written(tmp_path, panel)
    panels = await chosen(servers(), evaluation={"panel": mine})
    assert (len(panels.evaluation.tasks), ids(panels.train)) == (3, [f"train/{n}" for n in range(4)])
    other = written(tmp_path, made_panel("train", 2), "train.json")
    panels = await chosen(servers(), evaluation={"panel": mine}, env={"train_panel": other})
    assert ids(panels.train) == ["train/0", "train/1"]


async def test_a_task_in_both_panels_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train/0 is both trained and evaluated on"):
        await chosen(servers(), evaluation={"split": "train"})
    env = servers()
    env.splits["valid"][2] = replace(env.splits["valid"][2], sha256=env.splits["train"][5].sha256)
    with pytest.raises(DataError, match="valid/2 is both"):
        await chosen(env)


async def test_types_and_size_select_and_give_another_panel() -> None:
    whole = await chosen(servers())
    heat = await chosen(servers(), env={"task_types": ["heat"]})
    assert (len(heat.train.tasks), len(heat.evaluation.tasks)) == (5, 4)
    assert heat.evaluation.sha256 != whole.evaluation.sha256
    with pytest.raises(DataError, match="no task of the types"):
        await chosen(servers(), env={"task_types": ["no-such-type"]})
    small, other = [await chosen(servers(), seed=seed, evaluation={"tasks": 3}) for seed in (0, 9)]
    assert small.evaluation == other.evaluation
    assert (len(small.evaluation.tasks), small.evaluation.name) == (3, "alfworld-made up-valid (3 of 8)")


async def test_another_step_limit_is_another_panel(tmp_path: Path) -> None:
    mine = written(tmp_path, made_panel("valid", 3))
    panels = await chosen(servers(), evaluation={"panel": mine}, env={"max_steps": 30})
    assert panels.evaluation.name.endswith("(30 steps)")
    assert panels.evaluation.sha256 != load_panel(mine).sha256


def test_a_run_that_goes_on_with_other_tasks_stops_and_names_the_first(tmp_path: Path) -> None:
    begun = made_panels(train=10, evaluation=8)
    keep_panels(tmp_path, begun, {})
    keep_panels(tmp_path, begun, begun.hashes)
    assert load_panel(str(tmp_path / "panels" / "train.json.gz")) == begun.train
    with pytest.raises(RunStateError, match=r"another evaluation panel .*: valid/7 is in the first only") as refused:
        keep_panels(tmp_path, made_panels(train=10, evaluation=7), begun.hashes)
    assert "start a new run" in refused.value.hint
    (tmp_path / "panels" / "train.json.gz").unlink()
    with pytest.raises(RunStateError, match=r"cannot be said where they differ: .*train\.json\.gz"):
        keep_panels(tmp_path, made_panels(train=9, evaluation=8), begun.hashes)
