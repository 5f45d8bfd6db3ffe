"""`hiper eval` as a user runs it: a model, an environment of the user's own, a report."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_models import write_checkpoint

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = """
from pathlib import Path
from hiper.envs.custom import StepResult, TextEnvironment

class Gate(TextEnvironment):
    env = "gate"
    def __init__(self, data): self.data = Path(data)
    def tasks(self): return {"train": ["other"], "valid": ["one", "two"]}
    def content(self, task): return b""
    def play(self, task, seed):
        opened = self.data / "opened"
        with opened.open("a") as file: file.write(task + "\\n")
        held = len(set(opened.read_text().split())) == 2
        while held and not (self.data / "gate").exists():
            yield StepResult("Your task is to: wait. The gate is shut.", ("wait",))
        yield StepResult("The gate is open.", ("walk",))
        yield StepResult("You are through.", (), reward=1.0, terminated=True, won=True, score=1.0)
"""
SETTINGS = """
model: {path: elsewhere}
env: {max_steps: 1000000}
rollout:
  prompt: {style: compact}
  sampling: {max_prompt_tokens: 200, max_response_tokens: 24}
  dtype: float32
  enforce_eager: true
  cpu_threads: 1
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """`hiper eval` of a tiny model; what is missing is the environment."""
    write_checkpoint(tmp_path / "model", seed=0)
    (tmp_path / "run.yaml").write_text(SETTINGS)
    (tmp_path / "gate_env.py").write_text(ENVIRONMENT)
    config = ("--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "report.json"))
    return [sys.executable, "-m", "hiper", "eval", str(tmp_path / "model"), *config]


def begin(command: list[str], tmp_path: Path) -> subprocess.Popen[str]:
    path = os.pathsep.join((str(tmp_path), str(ROOT / "examples")))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def finished(process: subprocess.Popen[str], code: int) -> str:
    output, errors = process.communicate(timeout=180)
    assert process.returncode == code, errors
    return output


@pytest.mark.slow
def test_ctrl_c_leaves_a_report_and_the_same_command_plays_the_rest(command: list[str], tmp_path: Path) -> None:
    command += ["--env", "gate_env:Gate", "--data", str(tmp_path), "--set", "rollout.engine=random"]
    command += ["--set", "rollout.concurrent_episodes=1"]
    report, played = tmp_path / "report.json", tmp_path / "opened"
    process = begin(command, tmp_path)
    deadline = time.monotonic() + 120
    while not (played.exists() and len(set(played.read_text().split())) == 2):
        assert process.poll() is None, process.communicate(timeout=10)
        assert time.monotonic() < deadline, "it plays nothing"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert "NOT complete: 1 of 2 tasks" in finished(process, 130)
    first, second = dict.fromkeys(played.read_text().split())
    assert [episode["task_id"] for episode in json.loads(report.read_text())["episodes"]] == [first]

    (tmp_path / "gate").touch()
    played.unlink()
    assert "2 / 2" in finished(begin(command, tmp_path), 0)
    assert set(played.read_text().split()) == {second}, "what was played is not played again"
    assert json.loads(report.read_text())["complete"]


@pytest.mark.vllm
@pytest.mark.slow
def test_a_model_plays_an_environment_of_the_users_own(command: list[str], tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    command += ["--env", "key_and_door:KeyAndDoor", "--set", "env.max_steps=3", "--episodes", "4", "--json"]
    report = json.loads(finished(begin(command, tmp_path), 0))
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert (report["complete"], report["model"]["version"], report["settings"]["engine"]) == (True, None, "vllm")
    result = report["result"]
    assert (result["played"], result["abandoned"]) == (4, {})
    assert 0 < result["turns"] == sum(episode["turns"] for episode in report["episodes"]) <= 4 * 3
    assert 0 < result["response_tokens"] <= 24 * result["turns"]

    again = [*command, "--against", str(tmp_path / "report.json"), "--set", "rollout.vllm.engine_args={no_such: 1}"]
    compared = json.loads(finished(begin(again, tmp_path), 0))  # an engine would refuse that argument
    assert (compared["comparison"]["tasks"], compared["comparison"]["success"]) == (4, 0.0)
    assert compared["result"] == result
