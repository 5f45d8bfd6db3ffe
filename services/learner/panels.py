"""The panels of a run: what it trains and evaluates on, held against what the env servers host.

A run begins only if every task of its two panels is there with the panel's hash and none is in both. Their hashes go
into the checkpoint and into every result, the panels themselves into the run's folder, so that a run that goes on with
other tasks stops and says which one differs first.
"""

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hiper import logs
from hiper.config import RunConfig
from hiper.config.sections import EnvSettings
from hiper.durable import write_bytes
from hiper.envs.base import TaskPin
from hiper.envs.panels import (
    Panel,
    dump_panel,
    find_shipped,
    first_difference,
    held_out_split,
    load_panel,
    overlap,
    panel_of_pins,
    require_same_data,
    unlike,
    verdict,
)
from hiper.errors import DataError, RunStateError
from hiper.rpc.env_client import EnvInfo

__all__ = ["RunPanels", "TaskLister", "choose_panels", "keep_panels"]


class TaskLister(Protocol):
    """The part of `EnvClient` that knows tasks."""

    async def info(self) -> EnvInfo:
        """What the servers host."""
        ...

    async def list_tasks(self, split: str) -> list[TaskPin]:
        """The tasks of a split, sorted by id."""
        ...

    async def pin_tasks(self, task_ids: Sequence[str], *, full: bool = False) -> dict[str, TaskPin]:
        """What the servers have of these tasks, by id."""
        ...


@dataclass(frozen=True, slots=True)
class RunPanels:
    """What a run plays: two panels without a task in common."""

    train: Panel
    evaluation: Panel
    split: str
    """Split the evaluation's tasks are from; the panel's name if they are from several."""

    @property
    def hashes(self) -> dict[str, str]:
        """Hash of either panel, as it is written into checkpoint and results."""
        return {"train": self.train.sha256, "evaluation": self.evaluation.sha256}


async def choose_panels(config: RunConfig, env: TaskLister) -> RunPanels:
    """The panels `config` names, else those shipped for the data, else all tasks of the two splits as they are listed.

    Raises `PanelMismatchError` where a panel and the data differ, and `DataError` where nothing is left to play.
    """
    info, settings = await env.info(), config.evaluation
    named = load_panel(settings.panel) if settings.panel else None
    held_out = settings.split or ("" if named else held_out_split(info.splits))
    evaluation = await _Choice(env, info, held_out, config.env).settle(named)
    beside = load_panel(config.env.train_panel) if config.env.train_panel else evaluation.beside
    train = await _Choice(env, info, config.env.train_split, config.env).settle(beside and beside.training())
    kept = config.env.task_types
    panels = RunPanels(
        train=train.of_types(kept),
        evaluation=_limited(evaluation.of_types(kept), settings.tasks, config.env.max_steps),
        split=evaluation.split,
    )
    shared = overlap(panels.evaluation.tasks, panels.train.tasks)
    if shared is not None:
        raise DataError(f"{shared} is both trained and evaluated on", "choose disjoint panels or splits")
    return panels


def keep_panels(run_dir: Path, panels: RunPanels, begun_with: Mapping[str, str]) -> None:
    """Write the panels into the run's folder. `begun_with`: hashes in the checkpoint, empty for a new run.

    Raises `RunStateError` if the run was begun with others.
    """
    folder = run_dir / "panels"
    folder.mkdir(parents=True, exist_ok=True)
    for kind, panel in (("evaluation", panels.evaluation), ("train", panels.train)):
        path = folder / f"{kind}.json.gz"
        if begun_with.get(kind, panel.sha256) != panel.sha256:
            raise RunStateError(
                f"the run was begun with another {kind} panel than {panel.name}: {_change(path, panel)}",
                "go on with the data and settings it was begun with, or start a new run",
            )
        write_bytes(path, dump_panel(panel, compress=True))


@dataclass(frozen=True, slots=True)
class _Settled:
    """A panel that fits the data, and its tasks as the servers list them."""

    panel: Panel
    pins: Mapping[str, TaskPin]
    beside: Panel | None
    """The panel that says what to train on, if this one does."""

    @property
    def split(self) -> str:
        splits = {task.split or self.pins[task.id].split for task in self.panel.tasks}
        return splits.pop() if len(splits) == 1 else self.panel.name

    def of_types(self, kept: Sequence[str]) -> Panel:
        if not kept:
            return self.panel
        ids = {task_id for task_id, pin in self.pins.items() if pin.task_type in kept}
        if not ids:
            raise DataError(f"panel {self.panel.name} has no task of the types {list(kept)}", "check env.task_types")
        return self.panel.subset(ids)


@dataclass(frozen=True, slots=True)
class _Choice:
    env: TaskLister
    info: EnvInfo
    split: str
    settings: EnvSettings

    async def settle(self, named: Panel | None) -> _Settled:
        """Hold the panel that is named, or else shipped, against the data; make one if there is neither."""
        panel = named or find_shipped(self.info.env, self.info.fingerprint, self.split, self.settings.train_split)
        return await (self._made() if panel is None else self._compared(panel))

    async def _made(self) -> _Settled:
        if self.split not in self.info.splits:
            known = ", ".join(self.info.splits)
            raise DataError(f"there is no split '{self.split}' here", f"the env servers have {known}")
        pins = await self.env.list_tasks(self.split)
        if not pins:
            raise DataError(f"split '{self.split}' has no task", "choose another split or panel")
        fingerprint = self.info.fingerprint
        panel = panel_of_pins(self.info.env, fingerprint, self.split, pins, max_steps=self.settings.max_steps)
        return _Settled(panel, {pin.task_id: pin for pin in pins}, None)

    async def _compared(self, panel: Panel) -> _Settled:
        require_same_data(panel, self.info.env, self.info.fingerprint)
        pins = await self.env.pin_tasks([task.id for task in panel.tasks])
        doubtful = [task.id for task in unlike(panel.tasks, pins) if task.id in pins]
        pins |= await self.env.pin_tasks(doubtful, full=True)
        match = verdict(panel.name, panel.tasks, pins)
        logs.get().info("panel fits the data", panel=panel.name, tasks=match.tasks, by_content=match.by_content)
        return _Settled(panel, pins, panel if panel.train else None)


def _limited(panel: Panel, size: int, max_steps: int) -> Panel:
    """The evaluation as it will be played: the first `size` tasks by hash of the id (0: all), within `max_steps`."""
    ids: Set[str] = {task.id for task in panel.tasks}
    if size:
        ids = set(sorted(ids, key=lambda task_id: hashlib.sha256(f"panel\0{task_id}".encode()).digest())[:size])
    return panel.subset(ids).within(max_steps)


def _change(path: Path, panel: Panel) -> str:
    try:
        return first_difference(load_panel(str(path)), panel)
    except DataError as error:
        return f"it cannot be said where they differ: {error.message}"
