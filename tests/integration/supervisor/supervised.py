"""`hiper up` as a user starts it, and what it leaves behind."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

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


def assert_whole(run_dir: Path, iterations: int = ITERATIONS) -> None:
    """Every trajectory of the run counts once, over all its lives."""
    report = report_of(run_dir)
    assert report["complete"]
    assert (report["policy_versions"], report["conservation_gap"]) == (iterations, 0)
    counts = report["trajectories"]
    assert counts["published"] == counts["applied"] + sum(counts["dropped"].values())
    assert (counts["in_flight"], counts["dead_lettered"]) == (0, 0)
    versions = [json.loads(line)["version"] for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert versions == list(range(1, iterations + 1))


def pid_of(run_dir: Path, name: str) -> int:
    processes = json.loads((run_dir / "status.json").read_text())["processes"]
    pid: int = next(one["pid"] for one in processes if one["name"] == name)
    return pid
