"""`hiper up` with a learner of two processes under ZeRO-3."""

import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from supervised import DEADLINE_S, assert_whole, finish, hiper_up, learns, left_of, report_of, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.skipif(find_spec("deepspeed") is None, reason="deepspeed is not installed: scripts/setup.sh builds it"),
]

ITERATIONS = 3
SETTINGS = (
    f"learner.iterations={ITERATIONS}",
    "supervisor.scale={learner: 2}",
    "learner.backend={name: deepspeed, stage: 3}",
    "learner.lease_ttl_s=10",
)


def test_ranks_drain_together_and_take_the_run_to_its_end(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with hiper_up(run_dir, *SETTINGS) as first:
        until(lambda: learns(run_dir))
        first.send_signal(signal.SIGTERM)
        finish(first)
    assert first.returncode == 130
    assert left_of(run_dir) == []
    stopped = report_of(run_dir)
    assert (stopped["conservation_gap"], any(stopped["restarts"].values())) == (0, False)
    with hiper_up(run_dir, *SETTINGS) as second:
        said = finish(second)
    assert second.returncode == 0, said[-3000:]
    assert left_of(run_dir) == []
    assert_whole(run_dir, ITERATIONS)
    assert "checkpoint restored" in (run_dir / "logs" / "learner-0.log").read_text()


def test_a_stop_ends_ranks_that_wait_for_one_another(tmp_path: Path) -> None:
    """The first one waits for an env server, the second one for the first."""
    config = tmp_path / "run.yaml"
    config.write_text('{"env": {"addresses": ["127.0.0.1:1"]}, "learner": {"backend": {"name": "deepspeed"}}}')
    command = [sys.executable, "-m", "hiper", "learner", "--processes", "2", "--config", str(config)]
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen([*command, "--run-dir", str(tmp_path)], stderr=log)
        try:
            until(lambda: (tmp_path / "log").read_text().count("service starting") == 2)
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
            process.wait()
    assert left_of(tmp_path) == []
