"""Ranks under their launcher: how they end it, and how it ends them. The ranks are a few lines of Python."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

LAUNCHER = """
import sys
from hiper.supervisor.children import tied
from services.learner.launcher import launch
sys.exit(launch(tied((sys.executable, "-S", "-c", *sys.argv[1:])), 2))
"""
RANK = """
import os, pathlib, signal, sys, time
rank, folder = os.environ["RANK"], pathlib.Path(sys.argv[1])
assert os.environ["WORLD_SIZE"] == "2"
"""
WAITS = """
def drain(*_):
    time.sleep(0.5)
    (folder / f"drained-{rank}").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, drain)
(folder / f"pid-{rank}").write_text(str(os.getpid()))
time.sleep(600)
"""
DEADLINE_S = 60.0


@contextmanager
def launched(folder: Path, program: str) -> Iterator[subprocess.Popen[bytes]]:
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, RANK + program, str(folder)], env={**os.environ, **path}
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, "the condition did not come true in time"
        time.sleep(0.02)


def pids(folder: Path) -> list[int]:
    until(lambda: sum(bool(file.read_text()) for file in folder.glob("pid-*")) == 2)
    return [int(file.read_text()) for file in folder.glob("pid-*")]


def drained(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("drained-*"))


@pytest.mark.parametrize(("end", "code"), [("sys.exit(0)", 0), ("os.kill(os.getpid(), signal.SIGKILL)", 1)])
def test_it_ends_as_its_ranks_do(tmp_path: Path, end: str, code: int) -> None:
    with launched(tmp_path, end) as launcher:
        assert launcher.wait(DEADLINE_S) == code


def test_the_first_rank_that_fails_ends_the_others_and_names_the_code(tmp_path: Path) -> None:
    with launched(tmp_path, f"rank == '1' and sys.exit(3)\n{WAITS}") as launcher:
        assert launcher.wait(DEADLINE_S) == 3
    assert not any(map(psutil.pid_exists, [int(file.read_text()) for file in tmp_path.glob("pid-*")]))


def test_a_stop_waits_until_every_rank_has_drained(tmp_path: Path) -> None:
    with launched(tmp_path, WAITS) as launcher:
        ranks = pids(tmp_path)
        launcher.send_signal(signal.SIGTERM)
        assert launcher.wait(DEADLINE_S) == 0
    assert drained(tmp_path) == ["drained-0", "drained-1"]
    assert not any(map(psutil.pid_exists, ranks))


def test_killed_it_takes_its_ranks_along(tmp_path: Path) -> None:
    with launched(tmp_path, WAITS) as launcher:
        ranks = pids(tmp_path)
        launcher.kill()
        until(lambda: not any(map(psutil.pid_exists, ranks)))
    assert drained(tmp_path) == []
