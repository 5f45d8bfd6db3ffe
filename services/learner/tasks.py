"""Which tasks are played, and in which order: pure functions of the seed and the task ids.

Batch b of a run is the same whoever computes it and whenever, so the policy version is the whole task cursor, and
issuing a batch again after a crash adds nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from hiper._proto.common.v1 import types_pb2 as common
from hiper._proto.trajectory.v1.trajectory_pb2 import Task
from hiper.config import RunConfig
from hiper.envs.base import TaskPin
from hiper.errors import DataError
from hiper.streams import SCHEMA_VERSION
from hiper.vocabulary import trajectory_id

__all__ = ["TaskPlan", "eval_batch_id", "train_batch_id"]


def train_batch_id(batch: int) -> str:
    """Name of training batch `batch`, from 0."""
    return f"train-{batch:06d}"


def eval_batch_id(version: int) -> str:
    """Name of the evaluation of policy `version`."""
    return f"eval-{version:06d}"


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """Every batch of a run."""

    config: RunConfig
    train: tuple[str, ...]
    """Training task ids, sorted."""
    panel: tuple[str, ...]
    """Evaluation task ids, sorted: the same in every run on the same data."""

    @classmethod
    def build(cls, config: RunConfig, train: Sequence[TaskPin], valid: Sequence[TaskPin]) -> "TaskPlan":
        """Select by task type, and the panel by hash of the id. Raises `DataError` if nothing is left."""
        kept = config.env.task_types
        train_ids = sorted(task.task_id for task in train if not kept or task.task_type in kept)
        valid_ids = sorted(task.task_id for task in valid if not kept or task.task_type in kept)
        for name, ids in ((config.env.train_split, train_ids), (config.evaluation.split, valid_ids)):
            if not ids:
                raise DataError(
                    f"split '{name}' has no task of the types {list(kept) or 'any'}", "check env.task_types"
                )
        if overlap := set(train_ids) & set(valid_ids):
            raise DataError(f"{len(overlap)} tasks are both trained and evaluated on", "choose disjoint splits")
        size = config.evaluation.tasks or len(valid_ids)
        panel = sorted(sorted(valid_ids, key=lambda task: _digest("panel", task))[:size])
        return cls(config, tuple(train_ids), tuple(panel))

    def evaluation_due(self, version: int) -> bool:
        """True for version 0, the last one, and every `evaluation.every` between."""
        every = self.config.evaluation.every
        return version in (0, self.config.learner.iterations) or (every > 0 and version % every == 0)

    def train_batch(self, batch: int) -> list[Task]:
        """Tasks of training batch `batch`: the next `tasks_per_batch` of an endless row of permutations."""
        learner = self.config.learner
        first = batch * learner.tasks_per_batch
        ids = [self._nth(first + offset) for offset in range(learner.tasks_per_batch)]
        start = max(0, batch - learner.max_staleness)
        return [
            self._task(train_batch_id(batch), task_id, group, sample, start)
            for group, task_id in enumerate(ids)
            for sample in range(learner.samples_per_task)
        ]

    def eval_batch(self, version: int) -> list[Task]:
        """Tasks of the evaluation of `version`: the panel, once each."""
        return [
            self._task(eval_batch_id(version), task_id, group, 0, version, evaluation=True)
            for group, task_id in enumerate(self.panel)
        ]

    def _nth(self, position: int) -> str:
        epoch, index = divmod(position, len(self.train))
        return self._epoch(epoch)[index]

    def _epoch(self, epoch: int) -> Sequence[str]:
        return _permutation(self.train, self.config.seed, epoch)

    def _task(
        self, batch_id: str, task_id: str, group: int, sample: int, min_version: int, *, evaluation: bool = False
    ) -> Task:
        config = self.config
        identity = trajectory_id(config.run, batch_id, group, sample)
        temperature, kind, seed = config.rollout.sampling.temperature, common.TASK_KIND_TRAIN, str(identity)
        if evaluation:
            # Every version meets the same environment and the same dice: figures differ by policy only.
            temperature, kind, seed = config.evaluation.temperature, common.TASK_KIND_EVAL, task_id
        return Task(
            schema_version=SCHEMA_VERSION,
            run=config.run,
            trajectory_id=identity,
            batch_id=batch_id,
            batch_size=len(self.panel) if evaluation else config.batch_size,
            group=group,
            sample=sample,
            kind=kind,
            env=config.env.name,
            task_id=task_id,
            seed=int.from_bytes(_digest(str(config.seed), seed)[:4], "big") >> 1,
            max_steps=config.env.max_steps,
            temperature=temperature,
            min_policy_version=min_version,
        )


@lru_cache(maxsize=2)
def _permutation(tasks: tuple[str, ...], seed: int, epoch: int) -> tuple[str, ...]:
    return tuple(sorted(tasks, key=lambda task: _digest(str(seed), str(epoch), task)))


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()
