"""Choosing what is played: the panel that is named, else the one shipped for the data, else a split as it is listed.

One rule for every part that plays: figures of a run and those of `hiper eval` belong to the same tasks. A panel fits
only if every task of it is there with the panel's hash (`hiper.envs.panels.check`).
"""

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from hiper import logs
from hiper.config import RunConfig
from hiper.envs.base import TaskPin
from hiper.envs.panels.check import require_same_data, unlike, verdict
from hiper.envs.panels.making import held_out_split, panel_of_pins
from hiper.envs.panels.model import Panel
from hiper.envs.panels.shipped import find_shipped, load_panel
from hiper.errors import DataError

__all__ = ["Hosted", "Settled", "TaskLister", "settle_evaluation", "settle_training"]


class Hosted(Protocol):
    """What is known of the data before any task of it is."""

    @property
    def env(self) -> str:
        """Name of the environment."""
        ...

    @property
    def splits(self) -> Mapping[str, int]:
        """Number of tasks by split."""
        ...

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """What all its tasks share (`TaskSource.fingerprint`)."""
        ...


class TaskLister(Protocol):
    """Who hosts the tasks: env servers behind `EnvClient`, or a source in this process."""

    async def info(self) -> Hosted:
        """What is hosted."""
        ...

    async def list_tasks(self, split: str) -> list[TaskPin]:
        """The tasks of a split, sorted by id."""
        ...

    async def pin_tasks(self, task_ids: Sequence[str], *, full: bool = False) -> dict[str, TaskPin]:
        """What there is of these tasks, by id; unknown ones are missing. `full`: with second hashes."""
        ...


@dataclass(frozen=True, slots=True)
class Settled:
    """A panel that fits the data, and its tasks as they are listed."""

    panel: Panel
    pins: Mapping[str, TaskPin]
    beside: Panel | None
    """The panel that says what to train on, if this one does."""

    @property
    def split(self) -> str:
        """Split the tasks are from; the panel's name if they are from several."""
        splits = {task.split or self.pins[task.id].split for task in self.panel.tasks}
        return splits.pop() if len(splits) == 1 else self.panel.name

    def of_types(self, kept: Sequence[str]) -> Panel:
        """The panel of the tasks of some types; none named: all. Raises `DataError` if nothing is left."""
        if not kept:
            return self.panel
        ids = {task_id for task_id, pin in self.pins.items() if pin.task_type in kept}
        if not ids:
            raise DataError(f"panel {self.panel.name} has no task of the types {list(kept)}", "check env.task_types")
        return self.panel.subset(ids)

    def to_evaluate(self, config: RunConfig) -> Panel:
        """The panel as it will be played: its first `evaluation.tasks` by hash of the id, within `env.max_steps`."""
        panel, size = self.of_types(config.env.task_types), config.evaluation.tasks
        ids: Set[str] = {task.id for task in panel.tasks}
        if size:
            ids = set(sorted(ids, key=_place)[:size])
        return panel.subset(ids).within(config.env.max_steps)


async def settle_evaluation(config: RunConfig, host: TaskLister) -> Settled:
    """What `config` evaluates on.

    Raises `PanelMismatchError` where panel and data differ, and `DataError` where nothing is left to play.
    """
    settings = config.evaluation
    named = load_panel(settings.panel) if settings.panel else None
    info = await host.info()
    held_out = settings.split or ("" if named else held_out_split(info.splits))
    return await _Choice(host, info, held_out, config).settle(named)


async def settle_training(config: RunConfig, host: TaskLister, beside: Panel | None) -> Settled:
    """What `config` trains on; `beside` is what the evaluation's panel says about it. Raises as `settle_evaluation`."""
    named = load_panel(config.env.train_panel) if config.env.train_panel else beside
    choice = _Choice(host, await host.info(), config.env.train_split, config)
    return await choice.settle(named and named.training())


@dataclass(frozen=True, slots=True)
class _Choice:
    host: TaskLister
    info: Hosted
    split: str
    config: RunConfig

    async def settle(self, named: Panel | None) -> Settled:
        """Hold the panel that is named, or else shipped, against the data; make one if there is neither."""
        train_split = self.config.env.train_split
        panel = named or find_shipped(self.info.env, self.info.fingerprint, self.split, train_split)
        return await (self._made() if panel is None else self._compared(panel))

    async def _made(self) -> Settled:
        if self.split not in self.info.splits:
            known = ", ".join(self.info.splits)
            raise DataError(f"there is no split '{self.split}' here", f"the environment has {known}")
        pins = await self.host.list_tasks(self.split)
        if not pins:
            raise DataError(f"split '{self.split}' has no task", "choose another split or panel")
        max_steps = self.config.env.max_steps
        panel = panel_of_pins(self.info.env, self.info.fingerprint, self.split, pins, max_steps=max_steps)
        return Settled(panel, {pin.task_id: pin for pin in pins}, None)

    async def _compared(self, panel: Panel) -> Settled:
        require_same_data(panel, self.info.env, self.info.fingerprint)
        pins = await self.host.pin_tasks([task.id for task in panel.tasks])
        doubtful = [task.id for task in unlike(panel.tasks, pins) if task.id in pins]
        pins |= await self.host.pin_tasks(doubtful, full=True)
        match = verdict(panel.name, panel.tasks, pins)
        logs.get().info("panel fits the data", panel=panel.name, tasks=match.tasks, by_content=match.by_content)
        return Settled(panel, pins, panel if panel.train else None)


def _place(task_id: str) -> bytes:
    return hashlib.sha256(f"panel\0{task_id}".encode()).digest()
