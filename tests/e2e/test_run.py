"""A whole run, as `hiper up` starts it: real broker, gRPC, vLLM, six processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from hiper.weights import verify

pytestmark = [pytest.mark.e2e, pytest.mark.vllm, pytest.mark.slow]

CONFIG = Path(__file__).with_name("tiny.yaml")
DEADLINE_S = 900
VICTIMS = ("env_server-0", "reward-0", "hae-0", "broker", "learner-0", "rollout-0")


@contextmanager
def hiper_up(run_dir: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "hiper", "up", "--config", str(CONFIG), "--run-dir", str(run_dir), "--no-ui"]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, said[-3000:]
    return said


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert process.poll() is None, "the run ended early"
        assert time.monotonic() < give_up, "the condition did not come true in time"
        time.sleep(0.1)


def processes_of(run_dir: Path) -> list[str]:
    """Command lines that name the run directory, and workers of engines whose parents do not live any more."""
    found = []
    for process in psutil.process_iter(["cmdline", "name"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(run_dir) in line:
            found.append(line)
    return found


def check_report(run_dir: Path, versions: int) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((run_dir / "report.json").read_text())
    assert report["complete"]
    assert report["policy_versions"] == versions
    counts = report["trajectories"]
    assert report["conservation_gap"] == 0
    assert counts["in_flight"] == 0
    lost = sum(counts["dropped"].values()) + counts["dead_lettered"]
    assert counts["published"] == counts["applied"] + lost == 12 * versions + 2 * 8
    assert {report["evaluation"][when]["version"] for when in ("before", "after")} == {0, versions}
    assert (run_dir / "learning_curve.png").stat().st_size > 10_000
    lines = [json.loads(line)["version"] for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert lines == list(range(1, versions + 1))
    return report


def test_a_run_learns_reports_and_leaves_nothing_behind(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with hiper_up(run_dir) as process:
        said = finish(process)
    report = check_report(run_dir, versions=3)
    assert not any(report["restarts"].values())
    assert "every one accounted for" in said
    assert processes_of(run_dir) == []


def test_two_rollouts_get_every_version_over_http(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    options = ("--set", "weights.transport=http", "--set", "rollout.engine=random", "--scale", "rollout=2")
    with hiper_up(run_dir, *options) as process:
        finish(process)
    check_report(run_dir, versions=3)
    for name in ("rollout-0", "rollout-1"):
        newest = max((run_dir / "fetched" / name).glob("v*"))
        assert verify(newest) == verify(run_dir / "weights" / newest.name), "it has what the learner published"


def test_killing_every_process_once_neither_ends_the_run_nor_loses_a_trajectory(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with hiper_up(run_dir, "--set", "learner.iterations=8") as process:
        until(lambda: (run_dir / "metrics.jsonl").exists() and (run_dir / "metrics.jsonl").stat().st_size > 0, process)
        for victim in VICTIMS:
            pids = {p["name"]: p["pid"] for p in json.loads((run_dir / "status.json").read_text())["processes"]}
            os.kill(pids[victim], signal.SIGKILL)
            until(lambda victim=victim: restarts(run_dir)[victim] > 0, process)
        finish(process)
    report = check_report(run_dir, versions=8)
    assert all(report["restarts"][victim] >= 1 for victim in VICTIMS)
    assert processes_of(run_dir) == []


def restarts(run_dir: Path) -> dict[str, int]:
    return {p["name"]: p["restarts"] for p in json.loads((run_dir / "status.json").read_text())["processes"]}
