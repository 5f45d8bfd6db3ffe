"""The panels of a run: what it trains and evaluates on, held against what the env servers host.

A run begins only if every task of its two panels is there with the panel's hash and none is in both. Their hashes go
into the checkpoint and into every result, the panels themselves into the run's folder, so that a run that goes on with
other tasks stops and says which one differs first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hiper.config import RunConfig
from hiper.durable import write_bytes
from hiper.envs.panels import Panel, dump_panel, first_difference, load_panel, overlap
from hiper.envs.panels.choosing import TaskLister, settle_evaluation, settle_training
from hiper.errors import DataError, RunStateError

__all__ = ["RunPanels", "choose_panels", "keep_panels"]


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
    evaluation = await settle_evaluation(config, env)
    train = await settle_training(config, env, evaluation.beside)
    panels = RunPanels(
        train=train.of_types(config.env.task_types), evaluation=evaluation.to_evaluate(config), split=evaluation.split
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


def _change(path: Path, panel: Panel) -> str:
    try:
        return first_difference(load_panel(str(path)), panel)
    except DataError as error:
        return f"it cannot be said where they differ: {error.message}"
