"""`hiper up` as a user runs, stops and kills it. The model is random words: a run takes seconds. The rest is real."""

import os
import signal
from pathlib import Path

import pytest
from supervised import assert_whole, finish, hiper_up, learns, left_of, pid_of, report_of, started_by, until

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


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
