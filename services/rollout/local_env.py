"""The environment in this process, for an evaluation without env servers: the same engines, the same tasks.

Calls of a source run in threads, so that a slow environment delays nobody; an episode is played by one caller at a
time. Whatever the environment raises, and a call that takes longer than a server would be given, is a failure of that
episode and of no other.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from hiper.config.sections import EnvSettings
from hiper.envs.base import Episode, StepResult, TaskPin, TaskSource
from hiper.errors import DataError, HiperError

__all__ = ["LocalEnvironment", "LocalTasks"]

_Answer = TypeVar("_Answer")
_MOST_THREADS = 64


@dataclass(frozen=True, slots=True)
class LocalTasks:
    """What a source has; see `hiper.envs.panels.choosing.Hosted`."""

    env: str
    splits: dict[str, int]
    fingerprint: dict[str, str]


class LocalEnvironment:
    """See `services.rollout.ports.Environment` and `hiper.envs.panels.choosing.TaskLister`.

    `threads`: episodes that may wait for the environment at once.
    """

    def __init__(self, source: TaskSource, settings: EnvSettings, *, threads: int) -> None:
        self._source = source
        self._settings = settings
        self._threads = ThreadPoolExecutor(min(threads, _MOST_THREADS), "env")
        self._pins: dict[str, TaskPin] = {}
        """What was listed: to pin a task again may cost as much as to open it."""
        self._live: dict[str, tuple[Episode, TaskPin]] = {}

    async def info(self) -> LocalTasks:
        """See `TaskLister`."""
        source = self._source
        splits = {split: len(source.ids(split)) for split in source.splits()}
        return LocalTasks(source.env, splits, dict(source.fingerprint()))

    async def list_tasks(self, split: str) -> list[TaskPin]:
        """See `TaskLister`."""
        return list((await self._pinned(self._source.ids(split), full=False)).values())

    async def pin_tasks(self, task_ids: Sequence[str], *, full: bool = False) -> dict[str, TaskPin]:
        """See `TaskLister`."""
        known = {task_id for split in self._source.splits() for task_id in self._source.ids(split)}
        return await self._pinned([task_id for task_id in task_ids if task_id in known], full=full)

    async def open(self, session_id: str, task_id: str, seed: int, max_steps: int) -> StepResult:
        """See `Environment`. Raises `DataError` for a task that cannot be played."""

        def begin() -> tuple[Episode, TaskPin, StepResult]:
            episode = self._source.open(task_id, seed=seed, max_steps=max_steps)
            return episode, self._pins.get(task_id) or self._source.pin(task_id), episode.reset()

        episode, pin, first = await self._ask(f"task {task_id}", begin, self._settings.reset_timeout_s)
        self._live[session_id] = episode, pin
        return first

    def describe(self, session_id: str) -> TaskPin:
        """See `Environment`."""
        return self._live[session_id][1]

    async def step(self, session_id: str, action: str) -> StepResult:
        """See `Environment`."""
        episode, pin = self._live[session_id]
        return await self._ask(f"task {pin.task_id}", lambda: episode.step(action), self._settings.step_timeout_s)

    async def close(self, session_id: str) -> None:
        """See `Environment`."""
        self._live.pop(session_id, None)

    async def _pinned(self, task_ids: Sequence[str], *, full: bool) -> dict[str, TaskPin]:
        pins = await asyncio.to_thread(lambda: [self._source.pin(task_id, full=full) for task_id in task_ids])
        found = dict(zip(task_ids, pins, strict=True))
        self._pins |= found
        return found

    async def _ask(self, task: str, call: Callable[[], _Answer], timeout_s: float) -> _Answer:
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except TimeoutError as error:
            raise DataError(f"{task}: the environment gave no answer within {timeout_s:g} s") from error
        except HiperError:
            raise
        except Exception as error:  # an environment may be anybody's code
            raise DataError(f"{task}: the environment raised {type(error).__name__}: {error}") from error
