"""The message of one task: what is played, with which dice, at which temperature. The same whoever issues it."""

import hashlib
from dataclasses import dataclass

from hiper._proto.common.v1 import types_pb2 as common
from hiper._proto.trajectory.v1.trajectory_pb2 import Task
from hiper.config import RunConfig
from hiper.envs.panels import Panel, PanelTask
from hiper.streams import SCHEMA_VERSION
from hiper.vocabulary import trajectory_id

__all__ = ["Issue", "evaluation_tasks", "make_task"]


@dataclass(frozen=True, slots=True)
class Issue:
    """Which sample of which task of which batch, and the policy version it may begin with."""

    batch_id: str
    group: int
    """Number of the task within the batch."""
    sample: int
    min_version: int


def make_task(config: RunConfig, panel: Panel, task: PanelTask, issue: Issue) -> Task:
    """A training task: every sample has dice of its own."""
    identity = trajectory_id(config.run, issue.batch_id, issue.group, issue.sample)
    return Task(
        schema_version=SCHEMA_VERSION,
        run=config.run,
        trajectory_id=identity,
        batch_id=issue.batch_id,
        batch_size=config.batch_size,
        group=issue.group,
        sample=issue.sample,
        kind=common.TASK_KIND_TRAIN,
        env=panel.env,
        task_id=task.id,
        env_seed=task.seed,
        seed=_dice(config.seed, identity),
        max_steps=config.env.max_steps,
        temperature=config.rollout.sampling.temperature,
        min_policy_version=issue.min_version,
    )


def evaluation_tasks(config: RunConfig, panel: Panel, batch_id: str, version: int) -> list[Task]:
    """The tasks of an evaluation of `version`: the panel, once each.

    Every policy meets the same environment and the same dice: figures differ by policy only.
    """
    tasks = []
    for group, task in enumerate(panel.tasks):
        message = make_task(config, panel, task, Issue(batch_id, group, 0, version))
        message.kind, message.batch_size = common.TASK_KIND_EVAL, len(panel.tasks)
        message.temperature, message.seed = config.evaluation.temperature, _dice(config.seed, task.id)
        tasks.append(message)
    return tasks


def _dice(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:4], "big") >> 1
