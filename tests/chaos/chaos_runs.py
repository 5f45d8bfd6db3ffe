"""Runs of the chaos configuration, and what one that is left in peace comes to."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hiper.chaos.checker import RunOutcome

CONFIG = Path(__file__).parents[2] / "configs" / "chaos.yaml"
RUN_BOUND_S = 300


@dataclass(frozen=True)
class Peace:
    outcome: RunOutcome
    model: Path


def play(run_dir: Path, *settings: str, failpoint: str = "") -> str:
    """Run `hiper up` to its end and return what it said."""
    environment = {**os.environ, "HIPER_FAILPOINT": failpoint} if failpoint else dict(os.environ)
    changes = [word for setting in ("learner.iterations=4", *settings) for word in ("--set", setting)]
    command = [sys.executable, "-m", "hiper", "up", "--no-ui", "--config", str(CONFIG), "--run-dir", str(run_dir)]
    ended = subprocess.run(
        [*command, *changes], env=environment, capture_output=True, text=True, timeout=RUN_BOUND_S, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stderr
