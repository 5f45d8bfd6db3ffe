"""The learner's memory and its lines: one line per version whatever happened, and nothing acknowledged is forgotten."""

import json
from dataclasses import replace

import numpy as np
import pytest
from learner_made import VOCABULARY, make_trajectory
from panels_made import made_panels

from hiper.envs.panels import Panel
from services.learner.records import LineFile, eval_line, evaluate
from services.learner.rows import rows_of
from services.learner.state import LEDGER_BATCHES, RunState
from services.learner.summary import batch_summary, explained_variance


def versions(path) -> list[int]:
    return [json.loads(line)["version"] for line in path.read_text().splitlines()]


def test_rewind_leaves_one_line_per_version(tmp_path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = LineFile(path)
    for version in (1, 2, 3, 4):
        file.append({"version": version})
    with path.open("a") as torn:
        torn.write('{"version": 5, "succ')
    file.rewind(3, last={"version": 3})
    assert versions(path) == [1, 2, 3]
    file.append({"version": 4})
    assert versions(path) == [1, 2, 3, 4]


def test_line_lost_between_checkpoint_and_file_comes_back(tmp_path) -> None:
    path = tmp_path / "metrics.jsonl"
    LineFile(path).append({"version": 1})
    LineFile(path).rewind(2, last={"version": 2, "success": 0.5})
    assert versions(path) == [1, 2]


def test_numbers_json_has_no_word_for_are_null(tmp_path) -> None:
    path = tmp_path / "metrics.jsonl"
    LineFile(path).append({"version": 1, "loss": float("nan"), "norm": float("inf"), "success": 0.5})
    line = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert line == {"version": 1, "loss": None, "norm": None, "success": 0.5}


def test_evaluation_counts_by_task_type() -> None:
    trajectories = [make_trajectory(seed) for seed in range(5)]
    trajectories[4].task_type = "heat"
    panels = made_panels(train=2, evaluation=6)
    line = eval_line(evaluate(3, panels, trajectories))
    assert (line["split"], line["panel"]) == ("valid", panels.evaluation.name)
    assert line["panel_sha256"] == panels.evaluation.sha256
    assert (line["version"], line["won"], line["played"], line["expected"]) == (3, 3, 5, 6)
    assert line["by_task_type"]["pick"]["won"] == 2
    assert line["by_task_type"]["heat"] == {
        "won": 1,
        "played": 1,
        "success": 1.0,
        "low": pytest.approx(0.2065, abs=1e-3),
        "high": 1.0,
    }
    assert line["low"] < line["success"] < line["high"]


def test_an_evaluation_says_the_score_and_the_best_there_is() -> None:
    panels, played = made_panels(evaluation=2), [make_trajectory(seed) for seed in range(2)]
    for trajectory, score in zip(played, (0.25, 1.0), strict=True):
        trajectory.outcome.score = score
    line = eval_line(evaluate(0, panels, played))
    assert (line["mean_score"], line["ceiling"]) == (0.625, None)
    document = panels.evaluation.document()
    document["tasks"] = [{**task, "ceiling": best} for task, best in zip(document["tasks"], (1.0, 0.8), strict=True)]
    priced = replace(panels, evaluation=Panel.model_validate(document))
    assert eval_line(evaluate(0, priced, played))["ceiling"] == pytest.approx(0.9)
    assert eval_line(evaluate(0, priced, []))["mean_score"] == 0


def test_ledger_forgets_only_what_is_acknowledged() -> None:
    state = RunState()
    for batch in range(3 * LEDGER_BATCHES):
        state.record(f"train-{batch:06d}", {"a": "applied"})
    assert len(state.ledger) == 3 * LEDGER_BATCHES
    state.forget_acknowledged()
    assert list(state.ledger) == [f"train-{b:06d}" for b in range(2 * LEDGER_BATCHES, 3 * LEDGER_BATCHES)]


def test_batches_behind_the_version_are_past() -> None:
    state = RunState(version=4)
    state.record("eval-000004", {})
    past = ("train-000003", "eval-000003", "eval-000004")
    assert all(state.is_past(batch) for batch in past)
    assert not any(state.is_past(batch) for batch in ("train-000004", "eval-000005", "train-", "other-000001"))


def test_state_survives_json() -> None:
    state = RunState(version=2, serial=7, last_line={"version": 2}, config_sha256="abc", panels=made_panels().hashes)
    state.record("train-000001", {"r/train-000001/0/0": "applied"})
    state.evaluations.append(evaluate(0, made_panels(), [make_trajectory(0)]))
    assert RunState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_explained_variance_is_one_for_perfect_values_and_skips_constant_targets() -> None:
    rows = rows_of([make_trajectory(seed) for seed in range(4)], VOCABULARY)
    for row in rows:
        row.targets[0] = 1.0
        row.targets[2] = row.old_values[2] + np.float32(row.targets[1])
    found = explained_variance(rows)
    assert "explained_variance_low" not in found
    assert found["explained_variance_high"] == pytest.approx(1.0)
    assert found["explained_variance_switch"] < 1.0


def test_summary_of_a_batch() -> None:
    trajectories = [make_trajectory(seed, turns=2 + seed) for seed in range(2)]
    trajectories[0].turns[1].is_switch = False
    trajectories[0].turns[1].env_reward = 1.0
    summary = batch_summary(trajectories, expected=4)
    assert (summary["trajectories"], summary["expected"], summary["turns"]) == (2, 4, 5)
    assert summary["success"] == 0.5
    assert summary["turns_mean"] == 2.5
    assert summary["switch_rate"] == pytest.approx(4 / 5)
    assert summary["env_return"] == 0.5
    assert batch_summary([], expected=4)["success"] == 0
