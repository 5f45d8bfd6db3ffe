"""`hiper up` as a user runs, stops and kills it. The model is random words: a run takes seconds. The rest is real."""

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

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

CONFIG = Path(__file__).parents[3] / "configs" / "chaos.yaml"
DEADLINE_S = 180
ITERATIONS = 6


@contextmanager
def hiper_up(run_dir: Path, *settings: str) -> Iterator[subprocess.Popen[str]]:
    changes = [word for one in (f"learner.iterations={ITERATIONS}", *settings) for word in ("--set", one)]
    command = [sys.executable, "-m", "hiper", "up", "--no-ui", "--config", str(CONFIG), "--run-dir", str(run_dir)]
    process = subprocess.Popen([*command, *changes], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=DEADLINE_S)[1]


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, "the condition did not come true in time"
        time.sleep(0.05)


def learns(run_dir: Path) -> bool:
    """Whether the first update is made, and more are to come."""
    metrics = run_dir / "metrics.jsonl"
    return metrics.exists() and bool(metrics.read_text())


def started_by(run_dir: Path) -> set[int]:
    """Every process of the run, the broker among them."""
    return {one["pid"] for one in json.loads((run_dir / "status.json").read_text())["processes"] if one["pid"]}


def left_of(run_dir: Path, *started: int) -> list[int]:
    """Processes that name the run, and those of `started` that live on."""
    named = [one.pid for one in psutil.process_iter(["cmdline"]) if str(run_dir) in " ".join(one.info["cmdline"] or [])]
    return named + [pid for pid in started if psutil.pid_exists(pid)]


def report_of(run_dir: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((run_dir / "report.json").read_text())
    return report


def assert_whole(run_dir: Path) -> None:
    """Every trajectory of the run counts once, over all its lives."""
    report = report_of(run_dir)
    assert report["complete"]
    assert (report["policy_versions"], report["conservation_gap"]) == (ITERATIONS, 0)
    counts = report["trajectories"]
    assert counts["published"] == counts["applied"] + sum(counts["dropped"].values())
    assert (counts["in_flight"], counts["dead_lettered"]) == (0, 0)
    versions = [json.loads(line)["version"] for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert versions == list(range(1, ITERATIONS + 1))


def test_a_stopped_run_drains_and_goes_on(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with hiper_up(run_dir) as first:
        until(lambda: learns(run_dir))
        first.send_signal(signal.SIGTERM)
        finish(first)
    assert first.returncode == 130
    assert left_of(run_dir) == []
    stopped = report_of(run_dir)
    assert not stopped["complete"]
    assert stopped["conservation_gap"] == 0
    assert not any(stopped["restarts"].values()), "a drain is no death"
    with hiper_up(run_dir) as second:
        said = finish(second)
    assert second.returncode == 0, said[-3000:]
    assert_whole(run_dir)


def test_a_killed_supervisor_leaves_no_process_and_the_run_goes_on(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with hiper_up(run_dir) as first:
        until(lambda: learns(run_dir))
        started = started_by(run_dir)
        assert len(started) == 6
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        until(lambda: left_of(run_dir, *started) == [])
    with hiper_up(run_dir) as second:
        said = finish(second)
    assert second.returncode == 0, said[-3000:]
    assert_whole(run_dir)


def test_a_service_that_cannot_start_ends_the_run_with_its_own_words(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with hiper_up(run_dir, "reward.terms={mine: {path: 'no_such_module:term'}}") as process:
        said = finish(process)
    assert process.returncode == 1
    last = said.strip().splitlines()[-1]
    assert last.startswith("error: reward-0")
    assert "no_such_module" in said
    assert "Traceback" not in said
    assert left_of(run_dir) == []


def test_a_process_that_keeps_dying_ends_the_run_by_name(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with hiper_up(run_dir, "supervisor.max_restarts=2") as process:
        until(lambda: learns(run_dir))
        for _ in range(3):
            before = pid_of(run_dir, "hae-0")
            os.kill(before, signal.SIGKILL)
            until(lambda before=before: process.poll() is not None or pid_of(run_dir, "hae-0") not in (before, None))
        said = finish(process)
    assert process.returncode == 1
    assert said.strip().splitlines()[-1].startswith("error: hae-0")
    assert left_of(run_dir) == []
    assert report_of(run_dir)["conservation_gap"] == 0


def pid_of(run_dir: Path, name: str) -> int:
    processes = json.loads((run_dir / "status.json").read_text())["processes"]
    pid: int = next(one["pid"] for one in processes if one["name"] == name)
    return pid
