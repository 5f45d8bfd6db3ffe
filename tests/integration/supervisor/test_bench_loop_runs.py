"""`hiper bench loop`: the runs it measures, and that nothing of them is left behind however it ends."""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from supervised import DEADLINE_S, left_of, until

from hiper.bench.loop import Cores, play, settings
from hiper.errors import RunStateError

pytestmark = pytest.mark.slow


def _tiny(cores: Cores) -> dict[str, Any]:
    """Few and small updates that need no vLLM."""
    tree = settings(1, 4, 0, cores)
    tree["env"]["max_steps"] = 4
    tree["rollout"] |= {"engine": "random"}
    tree["learner"] |= {"tasks_per_batch": 6}
    tree["warmstart"] |= {"episodes": 40, "steps": 2, "cache": False}
    return tree


def test_a_run_is_measured(tmp_path: Path) -> None:
    usable = sorted(os.sched_getaffinity(0))
    cores = Cores(learner=usable[-1], others=usable[0])
    pace = play("asynchronous", _tiny(cores), cores, tmp_path / "run")
    assert 0 <= pace.waited <= pace.seconds
    assert pace.learner_cpu > 0
    assert pace.others_cpu > 0
    assert 0 < pace.staleness <= 1
    assert 6 <= pace.turns <= 6 * 4
    assert left_of(tmp_path) == []


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RunStateError, match=r"the synchronous run failed: .*lerner"):
        play("synchronous", {"lerner": {}}, Cores(0, 0), tmp_path / "run")
    assert left_of(tmp_path) == []


@pytest.mark.skipif(find_spec("vllm") is None, reason="the benchmark refuses to begin without vLLM")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark refuses to begin on one core")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_benchmark_that_was_ended(tmp_path: Path, end: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hiper", "bench", "loop", "--repeats", "1"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: any(tmp_path.glob("*/synchronous-0/run/logs/*")))
        process.send_signal(end)
        _, said = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    until(lambda: left_of(tmp_path) == [])
    if end is signal.SIGINT:
        assert process.returncode != 0
        assert "Traceback" not in said, said
        assert list(tmp_path.glob("hiper-bench-*")) == []
