"""The report of a run, from hand-written files."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.report import RunFiles, build_report, summary_lines
from hiper.report.picture import draw_learning_curve
from hiper.statistics import difference_interval, mean_interval, paired_difference_interval, wilson_interval


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    def evaluation(version: int, won: int) -> dict[str, object]:
        low, high = wilson_interval(won, 100)
        row = {"won": won, "played": 100, "success": won / 100, "low": low, "high": high}
        panel = {"split": "valid", "panel": "alfworld-synthetic-valid", "panel_sha256": "e" * 64, "expected": 100}
        return {"version": version, **panel, **row, "by_task_type": {"pick": row}}

    metrics = [
        {
            "version": v,
            "time": 100.0 + 10 * v,
            "success": v / 10,
            "trajectories": 50,
            "turns": 500,
            "seconds_actor": 4.0,
            "train_panel_sha256": "f" * 64,
        }
        for v in (1, 2, 3)
    ]
    counts = {"published": 350, "applied": 340, "dropped": {"stale": 10}, "dead_lettered": 0, "in_flight": 0}
    files = {
        "config.json": json.dumps({"run": "r", "seed": 7}),
        "pipeline.json": json.dumps({"trajectories": counts, "conservation_gap": 0}),
        "metrics.jsonl": "".join(json.dumps(line) + "\n" for line in metrics),
        "evals.jsonl": "".join(json.dumps(evaluation(*pair)) + "\n" for pair in ((0, 20), (3, 60))),
    }
    files["finished.json"] = json.dumps({"policy_version": 3})
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_score_is_shown_where_it_says_more_than_success(run_dir: Path) -> None:
    def shown(score: float, ceiling: float | None) -> str:
        path = run_dir / "evals.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines = [{**line, "mean_score": line["success"] + score, "ceiling": ceiling} for line in lines]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return "\n".join(summary_lines(build_report(RunFiles(run_dir))))

    assert "mean score" not in shown(0, None)
    assert "0.450   0.850   best there is: 0.980" in shown(0.25, 0.98)


def test_report_says_what_was_learned_and_where_everything_went(run_dir: Path) -> None:
    report = build_report(RunFiles(run_dir))
    assert (report["complete"], report["policy_versions"], report["seed"]) == (True, 3, 7)
    assert report["evaluation"]["difference"]["success"] == pytest.approx(0.4)
    assert report["evaluation"]["difference"]["low"] > 0.25
    expected = {"evaluation": "alfworld-synthetic-valid", "evaluation_sha256": "e" * 64, "train_sha256": "f" * 64}
    assert report["panels"] == expected
    assert report["throughput"]["episodes_per_second"] == pytest.approx(5.0)
    assert report["seconds_by_phase"]["actor"] == pytest.approx(12.0)
    text = "\n".join(summary_lines(report))
    assert "350 published = 340 applied + stale 10 dropped" in text
    assert "every one accounted for" in text
    assert f"alfworld-synthetic-valid, sha256 {'e' * 16}" in text
    assert "20.0%" in text
    assert "60.0%" in text


def test_gap_is_shouted(run_dir: Path) -> None:
    tree = json.loads((run_dir / "pipeline.json").read_text())
    (run_dir / "pipeline.json").write_text(json.dumps({**tree, "conservation_gap": 3}))
    assert "CONSERVATION GAP 3" in "\n".join(summary_lines(build_report(RunFiles(run_dir))))


def test_run_that_was_cut_off_still_has_a_report(run_dir: Path) -> None:
    for name in ("finished.json", "pipeline.json", "evals.jsonl"):
        (run_dir / name).unlink()
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write('{"version": 4, "ti')
    report = build_report(RunFiles(run_dir))
    assert not report["complete"]
    assert report["policy_versions"] == 3
    assert "NOT complete" in "\n".join(summary_lines(report))
    assert not draw_learning_curve(RunFiles(run_dir), run_dir / "curve.png")


def test_picture_is_drawn(run_dir: Path) -> None:
    assert draw_learning_curve(RunFiles(run_dir), run_dir / "curve.png")
    assert (run_dir / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_wilson_interval_of_known_cases() -> None:
    assert wilson_interval(5, 10) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    assert wilson_interval(0, 10) == (0.0, pytest.approx(0.2775, abs=1e-4))
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_difference_interval_of_a_known_case() -> None:
    """Newcombe 1998, case (a): 56/70 against 48/80 gives 0.0524 to 0.3339."""
    assert difference_interval(48, 80, 56, 70) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_intervals_hold_their_estimate(a: int, extra_a: int, b: int, extra_b: int) -> None:
    low, high = wilson_interval(a, a + extra_a)
    assert 0 <= low <= high <= 1
    if a + extra_a and b + extra_b:
        difference = b / (b + extra_b) - a / (a + extra_a)
        low, high = difference_interval(a, a + extra_a, b, b + extra_b)
        assert low - 1e-12 <= difference <= high + 1e-12


def test_paired_difference_interval_of_a_known_case() -> None:
    """Newcombe 1998 (paired data), 36, 12, 2 and 0 of 50 pairs, by method 10: 0.0569 to 0.3404."""
    known = (pytest.approx(0.0569, abs=1e-4), pytest.approx(0.3404, abs=1e-4))
    assert paired_difference_interval(36, 2, 12, 0) == known
    assert paired_difference_interval(0, 0, 0, 0) == (-1.0, 1.0)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_a_paired_interval_holds_its_estimate_and_turns_with_the_sides(a: int, b: int, c: int, d: int) -> None:
    low, high = paired_difference_interval(a, b, c, d)
    assert -1 <= low <= high <= 1
    if a + b + c + d:
        assert low - 1e-12 <= (c - b) / (a + b + c + d) <= high + 1e-12
    assert paired_difference_interval(a, c, b, d) == (pytest.approx(-high), pytest.approx(-low))


def test_pairing_narrows_the_interval_where_the_same_tasks_are_won() -> None:
    paired, independent = paired_difference_interval(60, 2, 8, 30), difference_interval(62, 100, 68, 100)
    assert paired[1] - paired[0] < 0.7 * (independent[1] - independent[0])


def test_interval_of_a_mean() -> None:
    low, high = mean_interval([0.0, 1.0] * 50)
    assert (low, high) == (pytest.approx(0.4015, abs=1e-4), pytest.approx(0.5985, abs=1e-4))
    assert mean_interval([0.5]) == (float("-inf"), float("inf"))
