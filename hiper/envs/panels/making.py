"""Making panels from what a source offers."""

from collections.abc import Iterable, Mapping, Sequence

from hiper.envs.base import TaskPin, TaskSource
from hiper.envs.panels.model import Panel, PanelTask, overlap
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


def make_panel(
    source: TaskSource, split: str, *, train: str | None = None, name: str = "", max_steps: int = 50
) -> Panel:
    """The panel of all tasks of `split`, and those of split `train` to train on, with full pins: all are opened once.

    Raises `DataError` for a split without tasks, and where the two have one in common.
    """
    tested = panel_of_pins(
        source.env, source.fingerprint(), split, _full_pins(source, split), name=name, max_steps=max_steps
    )
    if train is None:
        return tested
    to_train_on = panel_of_pins(source.env, source.fingerprint(), train, _full_pins(source, train)).tasks
    shared = overlap(tested.tasks, to_train_on)
    if shared is not None:
        raise DataError(f"{shared} of split '{split}' is also in split '{train}'", "choose disjoint splits")
    return tested.beside(to_train_on)


def _full_pins(source: TaskSource, split: str) -> list[TaskPin]:
    pins = [source.pin(task_id, full=True) for task_id in source.ids(split)]
    if not pins:
        raise DataError(f"split '{split}' has no task", f"splits here: {', '.join(source.splits())}")
    return pins


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
