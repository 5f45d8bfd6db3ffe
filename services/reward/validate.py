"""Is a trajectory what a rollout publishes? Whatever passes here can be computed with by every later stage.

Beside what `hiper.contradictions` checks: its task, and the shapes and ranges of what it recorded.
"""

from collections.abc import Iterator

import numpy as np

from hiper._proto.common.v1 import types_pb2
from hiper._proto.trajectory.v1.trajectory_pb2 import Task, Trajectory, Turn
from hiper.contradictions import TOKEN_BYTES, contradictions

__all__ = ["contradiction"]


def contradiction(trajectory: Trajectory) -> str:
    """Return the first contradiction found, or an empty string."""
    return next(_all(trajectory), "")


def _all(trajectory: Trajectory) -> Iterator[str]:
    yield from _of_task(trajectory.task)
    yield from contradictions(trajectory)
    for turn in trajectory.turns:
        for fault in _of_turn(turn):
            yield f"turn {turn.index}: {fault}"


def _of_task(task: Task) -> Iterator[str]:
    if not (task.trajectory_id and task.batch_id and task.batch_size):
        yield "its task lacks trajectory_id, batch_id or batch_size"
    if task.kind == types_pb2.TASK_KIND_UNSPECIFIED:
        yield "its task is neither for training nor for evaluation"


def _of_turn(turn: Turn) -> Iterator[str]:
    if not turn.prompt_ids or len(turn.prompt_ids) % TOKEN_BYTES:
        yield "prompt_ids is empty or no list of int32"
    if len(turn.response_logprobs) != len(turn.response_ids):
        numbers, tokens = len(turn.response_logprobs) / TOKEN_BYTES, len(turn.response_ids) // TOKEN_BYTES
        yield f"{numbers:g} log-probabilities for {tokens} tokens"
    elif not np.isfinite(np.frombuffer(turn.response_logprobs, dtype="<f4")).all():
        yield "a log-probability is not finite"
    if not np.isfinite(turn.env_reward):
        yield f"env_reward is {turn.env_reward}"
