"""The original ALFWorld in a process of its own, where it is installed: an oracle for tests, a bar for benchmarks.

It is the optional extra `oracle`. TextWorld keeps state in its modules and changes `sys.argv`, so every game gets a
fresh process; `HIPER_ORIGINAL_PYTHON` names the interpreter to use when the original lives in another environment than
this package. Nothing else in HiPER imports it.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiper.errors import DependencyError

__all__ = ["OriginalPlay", "Shown", "find_original", "play_original"]

PYTHON_VARIABLE = "HIPER_ORIGINAL_PYTHON"
_PACKAGES = ("alfworld", "textworld")
_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the original shows after a reset or a command, and how long it took."""

    observation: str
    admissible: tuple[str, ...]
    won: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class OriginalPlay:
    """One game, loaded once and played several times."""

    load_s: float
    plays: tuple[tuple[Shown, ...], ...]
    """For each list of commands: the reset, then one answer a command."""


def find_original() -> str | None:
    """The interpreter that can play the original, or None."""
    if named := os.environ.get(PYTHON_VARIABLE):
        return named
    installed = all(importlib.util.find_spec(package) is not None for package in _PACKAGES)
    return sys.executable if installed else None


def play_original(game_file: Path, plays: Sequence[Sequence[str]], *, timeout_s: float = 300.0) -> OriginalPlay:
    """Play each list of commands from a fresh reset of `game_file`.

    Raises `DependencyError` when the original is not installed or does not answer within `timeout_s`.
    """
    python = find_original()
    if python is None:
        raise DependencyError("the original ALFWorld is not installed", "pip install 'hiper-rl[oracle]'")
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder, "asked.json"), Path(folder, "answer.json")
        asked.write_text(json.dumps({"game": str(game_file), "plays": [list(play) for play in plays]}))
        command = [python, "-m", "hiper.envs.alfworld.original", str(asked), str(answer)]
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        try:
            done = subprocess.run(  # noqa: S603 - the interpreter the user named
                command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DependencyError(f"the original ALFWorld did not play: {error}", f"check {PYTHON_VARIABLE}") from error
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise DependencyError(f"the original ALFWorld failed on {game_file}: {last}", f"check {PYTHON_VARIABLE}")
        found = json.loads(answer.read_text())
    return OriginalPlay(
        found["load_s"],
        tuple(tuple(Shown(text, tuple(commands), *rest) for text, commands, *rest in play) for play in found["plays"]),
    )


class _Original:
    """The original's own stack around one game; of its process."""

    def __init__(self, game_file: str) -> None:
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos
        from textworld import EnvInfos
        from textworld.envs.pddl import PddlEnv

        infos = EnvInfos(won=True, admissible_commands=True, extras=["gamefile"])
        self._env: Any = AlfredInfos(AlfredDemangler(PddlEnv(infos), shuffle=False))
        self._env.load(game_file)

    def play(self, commands: list[str]) -> list[tuple[str, list[str], bool, float]]:
        return [self._shown(None), *(self._shown(command) for command in commands)]

    def _shown(self, command: str | None) -> tuple[str, list[str], bool, float]:
        started = time.perf_counter()
        state = self._env.reset() if command is None else self._env.step(command)[0]
        seconds = time.perf_counter() - started
        return state.feedback, list(state.admissible_commands), bool(state.won), seconds


def _main(asked: str, answer: str) -> None:
    sys.argv = sys.argv[:1]  # its planner would read the rest
    task = json.loads(Path(asked).read_text())
    started = time.perf_counter()
    original = _Original(task["game"])
    load_s = time.perf_counter() - started
    plays = [original.play(commands) for commands in task["plays"]]
    Path(answer).write_text(json.dumps({"load_s": load_s, "plays": plays}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
