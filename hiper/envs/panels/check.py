"""Comparing a panel with data: the same rule for a source at hand and for one behind gRPC.

A task fits if its hash is the panel's, or, for a re-serialised game file, if the hash of the three texts in it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hiper.envs.base import TaskPin, TaskSource
from hiper.envs.panels.model import Panel, PanelTask
from hiper.errors import DataError

__all__ = ["PanelMatch", "PanelMismatchError", "check_panel", "require_same_data", "unlike", "verdict"]

_HINT = "`hiper data check` looks at all of the data; `hiper env panel make` makes a panel of what is there"


class PanelMismatchError(DataError):
    """The data is not what the panel was made from. Says which file or field differs first."""


@dataclass(frozen=True, slots=True)
class PanelMatch:
    """How a panel fits the data: which of the two hashes decided, for how many tasks."""

    panel: str
    tasks: int
    by_bytes: int
    by_content: int
    """Files with other bytes whose texts are the same."""


def check_panel(panel: Panel, source: TaskSource) -> PanelMatch:
    """Compare every task of `panel`, those to train on included, with `source`. Raises `PanelMismatchError`."""
    require_same_data(panel, source.env, source.fingerprint())
    tasks = (*panel.tasks, *panel.train)
    listed = {split: set(source.ids(split)) for split in source.splits()}
    pins = {task.id: pin for task in tasks if (pin := _pin(source, task.id, listed)) is not None}
    full = {task.id: source.pin(task.id, full=True) for task in tasks if task.figures and task.id in pins}
    full |= {task.id: source.pin(task.id, full=True) for task in unlike(tasks, pins) if task.id in pins}
    return verdict(panel.name, tasks, pins | full)


def require_same_data(panel: Panel, env: str, fingerprint: Mapping[str, str]) -> None:
    """Compare what all tasks share, the version first. Raises `PanelMismatchError`."""
    stated = {"env": panel.env, **{f"data.{name}": value for name, value in panel.data.items()}}
    found = {"env": env, **{f"data.{name}": value for name, value in fingerprint.items()}}
    for field in sorted(stated, key=lambda name: (name != "env", name != "data.version", name)):
        if found.get(field) != stated[field]:
            here = found.get(field, "not known")
            raise PanelMismatchError(
                f"panel {panel.name} does not fit the data: {field} is {here} here and {stated[field]} in the panel",
                _HINT,
            )


def unlike(tasks: Sequence[PanelTask], pins: Mapping[str, TaskPin]) -> list[PanelTask]:
    """The tasks that are missing or have another hash: those whose second hash is worth asking for."""
    return [task for task in tasks if task.id not in pins or pins[task.id].sha256 != task.sha256]


def verdict(panel: str, tasks: Sequence[PanelTask], pins: Mapping[str, TaskPin]) -> PanelMatch:
    """Compare tasks with their pins, which are full where the first hash differs. Raises `PanelMismatchError`."""
    differing = [(task, reason) for task in tasks if (reason := _reason(task, pins.get(task.id)))]
    if differing:
        task, reason = differing[0]
        more = f"; {len(differing) - 1} more of {len(tasks)} do not fit" if len(differing) > 1 else ""
        raise PanelMismatchError(f"panel {panel} does not fit the data: {_called(task.id)} {reason}{more}", _HINT)
    by_content = len(unlike(tasks, pins))
    return PanelMatch(panel, len(tasks), len(tasks) - by_content, by_content)


def _reason(task: PanelTask, pin: TaskPin | None) -> str:
    """What is wrong with a task, as a verb phrase; empty if it fits."""
    if pin is None:
        return "is missing"
    if pin.sha256 != task.sha256 and (not task.content_sha256 or pin.content_sha256 != task.content_sha256):
        return f"differs: sha256 {pin.sha256[:16]} here, {task.sha256[:16]} in the panel"
    for name, value in pin.figures.items():
        if name in task.figures and task.figures[name] != value:
            return f"differs: {name} {value!r} here, {task.figures[name]!r} in the panel"
    return ""


def _called(task_id: str) -> str:
    """The file of a real game, else the task."""
    real_game = task_id.count("/") == 2 and "/trial_" in task_id
    return f"{task_id}/game.tw-pddl" if real_game else f"task {task_id}"


def _pin(source: TaskSource, task_id: str, listed: Mapping[str, set[str]]) -> TaskPin | None:
    """The task's pin; None where it is absent. Damage in a file that is there is raised, with its name."""
    try:
        return source.pin(task_id)
    except DataError:
        if any(task_id in ids for ids in listed.values()):
            raise
        return None
