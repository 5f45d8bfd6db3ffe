"""Making panels from what a source offers."""

from collections.abc import Iterable, Mapping, Sequence

from hiper.envs.base import TaskPin, TaskSource
from hiper.envs.panels.model import Panel, PanelTask
from hiper.errors import DataError

__all__ = ["held_out_split", "make_panel", "panel_of_pins", "panel_task"]

_HELD_OUT = ("valid_seen", "valid", "test")
"""Splits an evaluation uses if none is named, the first that is there: real ALFWorld, synthetic games, WebShop."""


def held_out_split(splits: Iterable[str]) -> str:
    """The split to evaluate on by default. Raises `DataError` if there is none to be sure of."""
    known = list(splits)
    for split in _HELD_OUT:
        if split in known:
            return split
    raise DataError(f"no held-out split among {', '.join(known) or 'none'}", "set evaluation.split or evaluation.panel")


def make_panel(source: TaskSource, split: str, *, name: str = "", max_steps: int = 50) -> Panel:
    """The panel of all tasks of `split`, with full pins: every task is opened once. Raises `DataError`."""
    pins = [source.pin(task_id, full=True) for task_id in source.ids(split)]
    if not pins:
        raise DataError(f"split '{split}' has no task", f"splits here: {', '.join(source.splits())}")
    return panel_of_pins(source.env, source.fingerprint(), split, pins, name=name, max_steps=max_steps)


def panel_of_pins(
    env: str, data: Mapping[str, str], split: str, pins: Sequence[TaskPin], *, name: str = "", max_steps: int = 50
) -> Panel:
    """The panel of the tasks listed as `pins`. By default it is called `<env>-<data version>-<split>`."""
    tasks = tuple(panel_task(pin) for pin in sorted(pins, key=lambda pin: pin.task_id))
    default = f"{env}-{data.get('version', 'unknown')}-{split}"
    return Panel(name=name or default, version=1, env=env, data=dict(data), max_steps=max_steps, tasks=tasks)


def panel_task(pin: TaskPin, *, seed: int = 0) -> PanelTask:
    """Fix one task as it is listed."""
    return PanelTask(
        id=pin.task_id,
        type=pin.task_type,
        split=pin.split,
        sha256=pin.sha256,
        content_sha256=pin.content_sha256 or None,
        seed=seed,
        **pin.figures,
    )
