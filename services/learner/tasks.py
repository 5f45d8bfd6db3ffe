"""In which order tasks are played: a pure function of the panels and the seed.

Batch b of a run is the same whoever computes it and whenever, so the policy version is the whole task cursor, and
issuing a batch again after a crash adds nothing.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from hiper._proto.trajectory.v1.trajectory_pb2 import Task
from hiper.config import RunConfig
from hiper.envs.panels import PanelTask
from hiper.tasks import Issue, evaluation_tasks, make_task
from services.learner.panels import RunPanels

__all__ = ["TaskPlan", "eval_batch_id", "train_batch_id"]


def train_batch_id(batch: int) -> str:
    """Name of training batch `batch`, from 0."""
    return f"train-{batch:06d}"


def eval_batch_id(version: int) -> str:
    """Name of the evaluation of policy `version`."""
    return f"eval-{version:06d}"


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """Every batch of a run: the one place where the order of play comes from."""

    config: RunConfig
    panels: RunPanels

    def evaluation_due(self, version: int) -> bool:
        """True for version 0, the last one, and every `evaluation.every` between."""
        every = self.config.evaluation.every
        return version in (0, self.config.learner.iterations) or (every > 0 and version % every == 0)

    def train_batch(self, batch: int) -> list[Task]:
        """Tasks of training batch `batch`: the next `tasks_per_batch` of an endless row of permutations."""
        learner = self.config.learner
        first = batch * learner.tasks_per_batch
        tasks = [self._nth(first + offset) for offset in range(learner.tasks_per_batch)]
        start = max(0, batch - learner.max_staleness)
        return [
            make_task(self.config, self.panels.train, task, Issue(train_batch_id(batch), group, sample, start))
            for group, task in enumerate(tasks)
            for sample in range(learner.samples_per_task)
        ]

    def eval_batch(self, version: int) -> list[Task]:
        """Tasks of the evaluation of `version`: the panel, once each."""
        return evaluation_tasks(self.config, self.panels.evaluation, eval_batch_id(version), version)

    def _nth(self, position: int) -> PanelTask:
        panel = self.panels.train
        epoch, index = divmod(position, len(panel.tasks))
        order = _permutation(tuple(task.id for task in panel.tasks), panel.sha256, epoch, self.config.seed)
        return panel.tasks[order[index]]


@lru_cache(maxsize=2)
def _permutation(ids: tuple[str, ...], panel_sha256: str, epoch: int, seed: int) -> tuple[int, ...]:
    """Positions in `ids` in the order of play (spec/environments.md, section 5)."""
    return tuple(sorted(range(len(ids)), key=lambda i: _digest(panel_sha256, str(epoch), str(seed), ids[i])))


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()
