"""In which order tasks are played: a pure function of the panels and the seed.

Batch b of a run is the same whoever computes it and whenever, so the policy version is the whole task cursor, and
issuing a batch again after a crash adds nothing.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from hiper._proto.common.v1 import types_pb2 as common
from hiper._proto.trajectory.v1.trajectory_pb2 import Task
from hiper.config import RunConfig
from hiper.envs.panels import PanelTask
from hiper.streams import SCHEMA_VERSION
from hiper.vocabulary import trajectory_id
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
            self._task(train_batch_id(batch), task, group, sample, start)
            for group, task in enumerate(tasks)
            for sample in range(learner.samples_per_task)
        ]

    def eval_batch(self, version: int) -> list[Task]:
        """Tasks of the evaluation of `version`: the panel, once each."""
        return [
            self._task(eval_batch_id(version), task, group, 0, version, evaluation=True)
            for group, task in enumerate(self.panels.evaluation.tasks)
        ]

    def _nth(self, position: int) -> PanelTask:
        panel = self.panels.train
        epoch, index = divmod(position, len(panel.tasks))
        order = _permutation(tuple(task.id for task in panel.tasks), panel.sha256, epoch, self.config.seed)
        return panel.tasks[order[index]]

    def _task(
        self, batch_id: str, task: PanelTask, group: int, sample: int, min_version: int, *, evaluation: bool = False
    ) -> Task:
        config = self.config
        identity = trajectory_id(config.run, batch_id, group, sample)
        temperature, kind, seed = config.rollout.sampling.temperature, common.TASK_KIND_TRAIN, str(identity)
        if evaluation:
            # Every version meets the same environment and the same dice: figures differ by policy only.
            temperature, kind, seed = config.evaluation.temperature, common.TASK_KIND_EVAL, task.id
        return Task(
            schema_version=SCHEMA_VERSION,
            run=config.run,
            trajectory_id=identity,
            batch_id=batch_id,
            batch_size=len(self.panels.evaluation.tasks) if evaluation else config.batch_size,
            group=group,
            sample=sample,
            kind=kind,
            env=self.panels.train.env,
            task_id=task.id,
            env_seed=task.seed,
            seed=int.from_bytes(_digest(str(config.seed), seed)[:4], "big") >> 1,
            max_steps=config.env.max_steps,
            temperature=temperature,
            min_policy_version=min_version,
        )


@lru_cache(maxsize=2)
def _permutation(ids: tuple[str, ...], panel_sha256: str, epoch: int, seed: int) -> tuple[int, ...]:
    """Positions in `ids` in the order of play (spec/environments.md, section 5)."""
    return tuple(sorted(range(len(ids)), key=lambda i: _digest(panel_sha256, str(epoch), str(seed), ids[i])))


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()
