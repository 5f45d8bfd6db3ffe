"""`hiper chaos` as a user runs it, and the proof that its checker can say no."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from chaos_runs import Peace

from hiper.chaos.checker import faults_of


@pytest.mark.slow
@pytest.mark.e2e
def test_a_short_rage_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hiper", "chaos", "--kills", "8", "--seed", "5", "--json", "--keep", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    report = json.loads(ended.stdout)
    assert sum(report["kills"].values()) == 8
    assert (report["lost"], report["duplicated"], report["conservation_gap"]) == (0, 0, 0)
    assert report["parameters_identical"]
    assert sum(times["number"] for times in report["recovery_s"].values()) > 0
    assert json.loads((tmp_path / "chaos.json").read_text()) == report


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learned_from": 47}, "1 trajectories too few learned from"),
        ({"applied": 65}, "1 trajectories too many applied"),
        ({"gap": 1}, "conservation gap 1"),
        ({"dead_lettered": 1}, "1 dead-lettered"),
        ({"versions": (1, 2, 2, 4)}, "versions 1..4 in 4 lines"),
        ({"parameters": ("0",)}, "parameters differ"),
        ({"complete": False, "error": "learner-0 failed"}, "did not complete: learner-0 failed"),
    ],
)
def test_the_checker_sees_every_kind_of_fault(change: dict[str, object], said: str, peace: Peace) -> None:
    assert faults_of(peace.outcome, peace.outcome) == []
    assert (peace.outcome.learned_from, peace.outcome.applied) == (48, 64)
    broken = dataclasses.replace(peace.outcome, **change)
    assert any(said in fault for fault in faults_of(broken, peace.outcome))


def test_a_run_that_cannot_be_compared_is_refused() -> None:
    command = [sys.executable, "-m", "hiper", "chaos", "--kills", "1", "--config", "demo"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "rollout.engine 'random'" in ended.stderr


def test_attaching_where_no_run_goes_on_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hiper", "chaos", "--run-dir", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "no run goes on" in ended.stderr
