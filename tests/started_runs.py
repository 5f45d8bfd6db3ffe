"""Runs of `hiper up` with a model that needs no vLLM, as processes of their own."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hiper.supervisor.targets import TARGETS_NAME

ROOT = Path(__file__).resolve().parents[1]
_WAIT_S = 60.0


def until(holds: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + _WAIT_S
    while not holds():
        assert time.monotonic() < give_up, f"{what} did not happen within {_WAIT_S:g} s"
        time.sleep(0.1)


@contextmanager
def process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not outlive the block."""
    with log.open("wb") as output:
        started = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent)
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(60)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


@contextmanager
def run_up(run_dir: Path, *settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run that plays with the model that needs no vLLM, from the moment its targets are known."""
    words = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "hiper", "up", "--no-ui", "--config", str(ROOT / "configs" / "chaos.yaml")]
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    with process([*command, "--run-dir", str(run_dir), *words], run_dir.parent / "up.log") as up:
        until((run_dir / TARGETS_NAME).exists, "the start of the run")
        yield up
