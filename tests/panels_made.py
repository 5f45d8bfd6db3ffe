"""Panels of tasks that exist nowhere, for tests in which nothing opens them."""

import hashlib

from hiper.envs.base import TaskPin
from hiper.envs.panels import Panel, panel_of_pins
from services.learner.panels import RunPanels


def made_pins(split: str, size: int) -> list[TaskPin]:
    """Tasks `<split>/0` and on, of two types in turn."""
    return [
        TaskPin(f"{split}/{n}", "heat" if n % 2 else "pick", split, hashlib.sha256(f"{split}/{n}".encode()).hexdigest())
        for n in range(size)
    ]


def made_panel(split: str, size: int) -> Panel:
    return panel_of_pins("alfworld", {"version": "made up"}, split, made_pins(split, size))


def made_panels(train: int = 10, evaluation: int = 8) -> RunPanels:
    return RunPanels(made_panel("train", train), made_panel("valid", evaluation), "valid")
