"""Listing tasks, and making and checking panels, as a user meets it."""

import json
from pathlib import Path

import pytest
from command_line import hiper, refused
from game_trees import write_game

from hiper.envs.alfworld.synthetic import SyntheticAlfworld
from hiper.envs.panels import load_panel, make_panel, shipped_panels


def test_tasks_are_listed_with_type_and_hash() -> None:
    source = SyntheticAlfworld()
    done = hiper("env", "tasks", "--split", "valid")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == source.ids("valid")
    first = source.describe(rows[0][0])
    assert rows[0][1:] == [first.task_type, "valid", first.sha256]
    listed = json.loads(hiper("env", "tasks", "--split", "valid", "-o", "json").stdout)
    assert [list(task.values()) for task in listed] == rows
    assert list(listed[0]) == ["id", "type", "split", "sha256"]


def test_a_panels_tasks_are_listed_without_its_data() -> None:
    done = hiper("env", "tasks", "--panel", "alfworld-2.1.2-valid_unseen")
    rows = [line.split() for line in done.stdout.splitlines()]
    panel = load_panel("alfworld-2.1.2-valid_unseen")
    assert [(row[0], row[3]) for row in rows] == [(task.id, task.sha256) for task in panel.tasks]
    assert {row[2] for row in rows} == {"valid_unseen"}
    assert panel.sha256 in done.stderr
    refused(hiper("env", "tasks", "--panel", "alfworld-2.1.2-valid_unseen", "--data", "x"), 2, "--data")
    refused(hiper("env", "tasks", "--panel", "alfworld-2.1.2-valid"), 1, "alfworld-2.1.2-valid_seen")


def test_shipped_panels_are_listed() -> None:
    listed = json.loads(hiper("env", "panels", "-o", "json").stdout)
    assert [panel["panel"] for panel in listed] == list(shipped_panels())
    sizes = {panel["panel"]: panel["tasks"] for panel in listed}
    assert (sizes["alfworld-2.1.2-valid_seen"], sizes["alfworld-2.1.2-train"]) == (140, 3553)
    assert "alfworld-2.1.2-valid_seen" in hiper("env", "panels").stdout


@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_a_panel_is_made_and_checked(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine{suffix}"
    options = ("--split", "valid", "--name", "mine", "--max-steps", "15")
    made = hiper("env", "panel", "make", *options, "--out", str(path))
    assert made.returncode == 0, made.stderr
    panel = make_panel(SyntheticAlfworld(), "valid", name="mine", max_steps=15)
    assert load_panel(str(path)) == panel
    checked = json.loads(hiper("env", "panel", "check", str(path), "-o", "json").stdout)
    assert checked == {"panel": "mine", "tasks": 128, "by_bytes": 128, "by_content": 0, "panel_sha256": panel.sha256}


def test_a_panel_of_a_shop_is_listed_with_what_was_drawn() -> None:
    listed = json.loads(hiper("env", "tasks", "--panel", "webshop-1000-products", "-o", "json").stdout)
    assert len(listed) == 500 + 745
    assert list(listed[0]) == ["id", "type", "split", "sha256", "seed", "price", "price_upper", "ceiling"]


def test_a_file_that_was_altered_is_named_in_one_line(tmp_path: Path) -> None:
    for number in range(3):
        write_game(tmp_path, "valid_seen", number)
    made = ("--split", "valid_seen", "--data", str(tmp_path), "--out", str(tmp_path / "mine.json"))
    assert hiper("env", "panel", "make", *made).returncode == 0
    altered = write_game(tmp_path, "valid_seen", 1, seed=77)
    done = hiper("env", "panel", "check", str(tmp_path / "mine.json"), "--data", str(tmp_path))
    refused(done, 1, f"{altered.relative_to(tmp_path / 'json_2.1.1')} differs", "hiper data check")


def test_what_cannot_be_made_or_does_not_fit_is_said_in_one_line(tmp_path: Path) -> None:
    make = ("env", "panel", "make", "--split", "valid", "--out")
    refused(hiper(*make, str(tmp_path / "mine.txt")), 2, "mine.txt", ".json")
    refused(hiper(*make, str(tmp_path / "no" / "mine.json")), 1, "mine.json")
    refused(hiper("env", "panel", "make", "--split", "holiday", "--out", "x.json"), 1, "holiday")
    refused(hiper("env", "panel", "check", "alfworld-2.1.2-valid_seen"), 1, "data.version", "2.1.2", "hiper data check")
