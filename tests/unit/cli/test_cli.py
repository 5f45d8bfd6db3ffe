"""The command line as a user meets it: bad input is one line that says what to do, with a documented exit code."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import hiper, refused


@pytest.fixture
def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_unknown_command_names_the_nearest() -> None:
    refused(hiper("confg"), 2, "confg", "config")


def test_unknown_setting_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("lerner: {}\n")
    refused(hiper("config", "check", str(tmp_path / "run.yaml")), 2, "lerner", "did you mean 'learner'")
    refused(hiper("up", "--config", "demo", "--set", "learner.iteratons=3"), 2, "learner.iteratons", "iterations")


def test_unknown_variable_names_the_nearest() -> None:
    refused(hiper("config", "check", "demo", HIPER_SEDE="1"), 2, "HIPER_SEDE", "HIPER_SEED")


def test_missing_run_file_and_folder() -> None:
    refused(hiper("up", "--config", "nowhere"), 2, "nowhere", "demo")
    refused(hiper("status", "--run-dir", "/nonexistent"), 1, "holds no run", "hiper up")
    refused(hiper("report", "/nonexistent"), 1, "holds no run")


def test_missing_game_data() -> None:
    refused(hiper("demo", "--data", "/nonexistent"), 1, "/nonexistent", "alfworld-download")


def test_corrupt_game_file_is_named(tmp_path: Path) -> None:
    game = tmp_path / "json_2.1.1/train/pick_and_place_simple-Mug-None-Cabinet-1/trial_T1/game.tw-pddl"
    game.parent.mkdir(parents=True)
    game.write_text('{"pddl_domain": ')
    task = "train/pick_and_place_simple-Mug-None-Cabinet-1/trial_T1"
    refused(
        hiper("env", "play", "--data", str(tmp_path), "--task", task, "--actions", "-"),
        1,
        "trial_T1",
        "not a game file",
    )


def test_unreachable_broker_names_address_and_bound(tmp_path: Path, free_port: int) -> None:
    (tmp_path / "run.yaml").write_text("broker: {unavailable_timeout_s: 1.0}\n")
    arguments = ("reward", "--config", str(tmp_path / "run.yaml"), "--run-dir", str(tmp_path))
    done = hiper(*arguments, HIPER_BROKER__URL=f"redis://127.0.0.1:{free_port}")
    assert done.returncode == 3, done.stderr
    last = json.loads(done.stderr.splitlines()[-1])
    assert last["event"] == "service failed"
    assert f"127.0.0.1:{free_port}" in last["error"]
    assert "Traceback" not in done.stderr


def test_play_prints_one_object_a_line() -> None:
    arguments = ("env", "play", "--task", "synth-alfworld/demo/pick_and_place_simple/1", "--actions", "-")
    done = hiper(*arguments, stdin="look\nfly away\n")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert [line["action"] for line in lines] == [None, "look", "fly away"]
    assert lines[2]["observation"] == "Nothing happens."
    keys = {"step", "action", "observation", "admissible", "reward", "terminated", "truncated", "won", "score"}
    assert set(lines[0]) == keys


def test_listing_into_a_closed_pipe_says_nothing() -> None:
    done = subprocess.run(
        f"{sys.executable} -m hiper env tasks | head -n 1", shell=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("synth-alfworld/")
    assert done.stderr == ""


def test_secrets_are_masked() -> None:
    done = hiper("config", "show", "demo", HIPER_BROKER__URL="redis://:hunter2@localhost:1")
    assert done.returncode == 0
    assert "hunter2" not in done.stdout + done.stderr


COMMANDS = [
    ("demo",), ("up",), ("status",), ("report",), ("warmstart",), ("doctor",), ("health",), ("rollout",),
    ("reward",), ("learner",), ("version",), ("env", "serve"), ("env", "play"), ("env", "tasks"),
    ("env", "panels"), ("env", "panel", "make"), ("env", "panel", "check"), ("env", "export"), ("hae", "serve"),
    ("hae", "compute"),
    ("config", "show"), ("config", "check"), ("config", "schema"), ("dlq", "list"), ("dlq", "show"),
    ("dlq", "replay"), ("dlq", "purge"), ("control",), ("metrics", "list"), ("metrics", "docs"),
    ("metrics", "dashboards"), ("metrics", "prometheus"), ("run", "show"), ("run", "pause"), ("run", "resume"),
    ("run", "stop"), ("run", "evaluate"),
]  # fmt: skip


def test_every_command_has_help_with_an_example() -> None:
    from typer.testing import CliRunner

    from hiper.cli.main import app

    for command in COMMANDS:
        shown = CliRunner().invoke(app, [*command, "--help"])
        assert shown.exit_code == 0, command
        assert "Example: hiper" in " ".join(shown.output.split()), command
