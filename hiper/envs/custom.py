"""Environments of your own: what you write, and how it becomes a source of tasks (docs/environments.md).

    class Countdown(TextEnvironment):
        env = "countdown"

        def tasks(self) -> dict[str, list[str]]:
            return {"train": ["from/5", "from/6"], "valid": ["from/7"]}

        def play(self, task: str, seed: int) -> Play:
            left = int(task.removeprefix("from/"))
            while left:
                action = yield StepResult(f"Your task is to: reach 0. You are at {left}.", ("down", "stay"))
                left -= action == "down"
            yield StepResult("You are at 0.", (), reward=1.0, terminated=True, won=True, score=1.0)

A run names it as `env.name`, the command line as `--env`: `package.module:Countdown`, or `entry-point:NAME` for what an
installed package offers in the group `hiper.environments`. Anything callable will do that returns a
`hiper.envs.base.TaskSource`.

Invariants of a played task:
- It begins again by beginning `play` again, which must be a function of task, seed and actions alone.
- What is no answer (not a `StepResult`, no actions before the end, no answer at all) is a `DataError` naming the task.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from hiper.envs.base import EpisodeOver, StepResult, TaskInfo, TaskPin, TaskSource
from hiper.errors import ConfigError, DataError
from hiper.plugins import PluginSite

__all__ = ["ENTRY_POINT_GROUP", "Play", "StepResult", "TextEnvironment", "open_custom"]

ENTRY_POINT_GROUP = "hiper.environments"
"""Entry points of this group can be named as `entry-point:NAME`."""

Play = Generator[StepResult, str, None]
"""One episode: yields what the player sees, receives the action, and ends with a `terminated` answer."""

_ENTRY_POINT = "entry-point:"


def open_custom(name: str, data: str | Path | None, options: Mapping[str, object]) -> TaskSource:
    """The tasks of an environment that is not built in; `data`, where given, is one more of its options.

    Raises `ConfigError` if it cannot be found or is no environment.
    """
    site = PluginSite(f"environment {name}", "environment", "every env server", ENTRY_POINT_GROUP)
    offered = name.removeprefix(_ENTRY_POINT)
    make = site.by_path(name) if offered == name else site.by_entry_point(offered)
    given = dict(options) if data is None else {**options, "data": Path(data)}
    site.check_call(make, 0, given)
    source = make(**given)
    if not isinstance(source, TaskSource):
        raise ConfigError(f"environment {name} is no TaskSource but {source!r:.80}", "derive it from TextEnvironment")
    return source


class TextEnvironment(ABC):
    """A `TaskSource` from `env`, `tasks` and `play`; `version`, `task_type` and `content` have defaults."""

    env: ClassVar[str]
    """Its name."""
    version: str = "1"
    """Change it with the rules, and with what your options change: results of different versions are not compared."""

    @abstractmethod
    def tasks(self) -> Mapping[str, Sequence[str]]:
        """Task ids by split. Training draws on `train`, evaluation on `valid_seen`, `valid` or `test`."""

    @abstractmethod
    def play(self, task: str, seed: int) -> Play:
        """Play one task. The first observation holds the task, best after the words `Your task is to:`."""

    def task_type(self, task: str) -> str:  # noqa: ARG002
        """Kind of task, by which success is broken down. By default there is one."""
        return self.env

    def content(self, task: str) -> bytes:
        """What a panel's hash of the task covers, beside name, version and id: by default the first answer."""
        first = self.open(task).reset()
        return json.dumps([first.observation, first.admissible]).encode()

    def splits(self) -> tuple[str, ...]:
        """The splits that have tasks."""
        return tuple(split for split, ids in self._tasks.items() if ids)

    def ids(self, split: str) -> list[str]:
        """Task ids of `split`, sorted."""
        if split not in self._tasks:
            raise DataError(f"{self.env} has no split {split!r}", f"use one of {', '.join(self._tasks)}")
        return list(self._tasks[split])

    def resolve(self, task: str) -> str:
        """The id itself, checked."""
        if task not in self._split:
            raise DataError(f"{self.env} has no task {task!r}", "list them with `hiper env tasks`")
        return task

    def fingerprint(self) -> dict[str, str]:
        """The version."""
        return {"version": self.version}

    def pin(self, task_id: str, *, full: bool = False) -> TaskPin:  # noqa: ARG002
        """Identify a task by what it is made of."""
        split = self._split[self.resolve(task_id)]
        parts = (self.env.encode(), self.version.encode(), task_id.encode(), self.content(task_id))
        return TaskPin(task_id, self.task_type(task_id), split, hashlib.sha256(b"\0".join(parts)).hexdigest())

    def describe(self, task_id: str) -> TaskInfo:
        """Describe one task; its goal is the first observation."""
        pin, first = self.pin(task_id), self.open(task_id).reset()
        return TaskInfo(task_id, self.env, pin.task_type, pin.split, pin.sha256, first.observation)

    def open(self, task_id: str, *, seed: int = 0, max_steps: int = 50) -> "PlayedEpisode":
        """Begin an episode. `max_steps` 0 = no limit."""
        task = self.resolve(task_id)
        return PlayedEpisode(lambda: self.play(task, seed), max_steps, f"{self.env}: task {task}")

    @cached_property
    def _tasks(self) -> dict[str, list[str]]:
        return {split: sorted(ids) for split, ids in self.tasks().items()}

    @cached_property
    def _split(self) -> dict[str, str]:
        split_of: dict[str, str] = {}
        for split, ids in self._tasks.items():
            for task in ids:
                if task in split_of:
                    raise DataError(f"{self.env}: task {task} is in {split_of[task]} and in {split}", "keep one")
                split_of[task] = split
        return split_of


class PlayedEpisode:
    """An `Episode` played by a generator. `called` names it in errors."""

    def __init__(self, begin: Callable[[], Play], max_steps: int, called: str) -> None:
        self._begin = begin
        self._max_steps = max_steps
        self._called = called
        self._play: Play | None = None
        self._shown = StepResult("", ())
        self.steps = 0
        """Actions played since the last reset."""

    def reset(self) -> StepResult:
        """Start again from the first observation."""
        self._play, self.steps = self._begin(), 0
        return self._show(next)

    def step(self, action: str) -> StepResult:
        """Play one action. Raises `EpisodeOver` after the end."""
        if self._play is None:
            self.reset()
        if self._shown.done:
            raise EpisodeOver(self.steps)
        valid = action in self._shown.admissible
        self.steps += 1
        return self._show(lambda play: play.send(action), action_valid=valid)

    def _show(self, answer: Callable[[Play], object], *, action_valid: bool = True) -> StepResult:
        assert self._play is not None, "an episode is begun before it answers"
        try:
            shown = answer(self._play)
        except StopIteration:
            raise self._fault("`play` returned before an answer that is terminated") from None
        if not isinstance(shown, StepResult):
            raise self._fault(f"`play` yielded {type(shown).__name__}, not a StepResult")
        if not (shown.admissible or shown.terminated):
            raise self._fault("there is no action to take, yet the episode is not terminated")
        over = not shown.terminated and 0 < self._max_steps <= self.steps
        self._shown = replace(shown, admissible=tuple(shown.admissible), truncated=over, action_valid=action_valid)
        return self._shown

    def _fault(self, text: str) -> DataError:
        return DataError(f"{self._called}: after step {self.steps}: {text}", "this is a defect of the environment")
