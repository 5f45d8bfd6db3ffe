"""The file form of the advantage computation: what it accepts, refuses and writes."""

import copy
import json
from pathlib import Path

import pytest

from hiper.advantages.compute_cases import compute_file
from hiper.errors import ConfigError, DataError

ROW = {
    "traj": "a",
    "turn": 0,
    "switch": True,
    "reward": 0.0,
    "done": False,
    "resp_len": 5,
    "switch_span": [0, 1],
    "subgoal_span": [1, 2],
    "action_span": [2, 3],
    "v_low": 0.5,
    "v_high": 0.25,
    "v_term": 0.125,
    "subgoal_tokens": [7],
}
CASE = {
    "name": "two turns",
    "heads": "low+high+switch",
    "response_width": 6,
    "cfg": {"gamma": 1.0, "lam_turn": 1.0, "lam_seg": 1.0},
    "rows": [ROW, ROW | {"turn": 1, "switch": False, "reward": 1.0}],
    "expected": {"adv_low": "ignored"},
}


def compute(folder: Path, case: dict, mode: str = "compat") -> dict:
    (folder / "in.json").write_text(json.dumps({"cases": [case]}))
    compute_file(folder / "in.json", folder / "out.json", mode)
    (result,) = json.loads((folder / "out.json").read_text())["cases"]
    assert result["name"] == case["name"]
    return result["expected"]


def changed(path: str, value) -> dict:
    case = copy.deepcopy(CASE)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = case
    for part in parents:
        place = place[part]
    place[last] = value
    return case


def test_a_case_written_by_hand(tmp_path: Path) -> None:
    found = compute(tmp_path, CASE)
    assert found["adv_low"] == [0.5, 0.5]
    assert found["adv_high"] == [0.75, None]
    assert found["ret_switch"] == [1.0, 1.0]
    assert found["adv_tokens"] == [[0.875, 0.75, 0.5, 0, 0, 0], [0.875, 0, 0.5, 0, 0, 0]]
    assert found["loss_mask"] == [[1, 1, 1, 0, 0, 0], [1, 0, 1, 0, 0, 0]]


def test_default_mode_trains_the_rest_of_the_response_and_values_what_comes_next(tmp_path: Path) -> None:
    case = changed("rows.1.v_next", 4.0)
    found = compute(tmp_path, case, "default")
    assert found["loss_mask"] == [[1, 1, 1, 1, 1, 0], [1, 0, 1, 1, 1, 0]]
    assert found["ret_low"] == found["ret_switch"] == [5.0, 5.0]
    assert compute(tmp_path, case)["ret_low"] == [1.0, 1.0], "compat knows no next observation"
    case["rows"][1]["truncated"] = False
    assert compute(tmp_path, case, "default")["ret_low"] == [1.0, 1.0]


def test_paper_mode_has_a_switch_level_where_the_file_has_what_it_needs(tmp_path: Path) -> None:
    bare = compute(tmp_path, CASE, "paper")
    assert bare["adv_switch"] == [None, None]
    assert [row[0] for row in bare["loss_mask"]] == [0, 0]
    case = copy.deepcopy(CASE)
    for row in case["rows"]:
        row["switch_probability"] = 0.5
    found = compute(tmp_path, case, "paper")
    assert found["adv_switch"] == [None, 0.125], "(0 - .5) * (.25 - .5); turn 0 has no previous sub-goal"
    assert found["ret_switch"] == [None, None]
    case["rows"][1]["switch"] = True
    with pytest.raises(DataError, match=r"two turns.*previous_v_low"):
        compute(tmp_path, case, "paper")


def test_paper_mode_leaves_rewards_alone(tmp_path: Path) -> None:
    case = changed("cfg.keep_penalty", -1.0)
    assert compute(tmp_path, case, "paper")["ret_low"][1] == 1.0
    assert compute(tmp_path, case, "default")["ret_low"][1] == 0.0


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("rows.1.reward", None, r"case 'two turns', rows\[1\]\.reward"),
        ("rows.0.action_span", [3, 2], r"rows\[0\].*action_span \[3, 2\)"),
        ("rows.0.v_low", float("nan"), r"rows\[0\]\.v_low \(trajectory \w+, turn 0\)"),
        ("rows.1.reward", float("inf"), r"rows\[1\]\.reward \(trajectory \w+, turn 1\)"),
        ("rows.1.v_term", None, r"rows\[1\]\.v_term"),
        ("rows.0.v_high", None, r"case 'two turns': trajectory \w+, turn 0: v_high is missing"),
        ("rows.0.resp_len", 7, r"rows\[0\]\.resp_len 7 exceeds response_width 6"),
        ("cfg.gamma", 1.5, r"cfg\.gamma"),
        ("cfg.lambda", 0.5, r"cfg\.lambda"),
        ("heads", "four", r"heads"),
        ("rows", "none", r"rows"),
    ],
)
def test_bad_input_is_one_line_that_names_case_and_field(tmp_path: Path, path: str, value, named: str) -> None:
    with pytest.raises(DataError, match=named) as refused:
        compute(tmp_path, changed(path, value))
    assert "in.json" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cases": 3}', '{"cases": [3]}'])
def test_files_that_are_no_cases_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "in.json").write_text(content)
    with pytest.raises(DataError, match=r"in\.json"):
        compute_file(tmp_path / "in.json", tmp_path / "out.json")


def test_files_that_cannot_be_read_or_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*absent\.json"):
        compute_file(tmp_path / "absent.json", tmp_path / "out.json")
    (tmp_path / "in.json").write_text('{"cases": []}')
    with pytest.raises(DataError, match="cannot write"):
        compute_file(tmp_path / "in.json", tmp_path / "nowhere" / "out.json")
    with pytest.raises(ConfigError, match="compat"):
        compute_file(tmp_path / "in.json", tmp_path / "out.json", "exact")


def test_a_case_without_rows_has_empty_columns(tmp_path: Path) -> None:
    found = compute(tmp_path, changed("rows", []))
    assert all(column == [] for column in found.values())
