"""Does a trajectory contradict itself? Whatever passes here can be computed with by every later stage.

Checks shapes, order and ranges of what the rollout recorded; it decodes no text and judges no content.
"""

from collections.abc import Iterator

import numpy as np

from hiper._proto.common.v1 import types_pb2
from hiper._proto.trajectory.v1.trajectory_pb2 import Task, Trajectory, Turn

__all__ = ["contradiction"]

_TOKEN_BYTES = 4


def contradiction(trajectory: Trajectory) -> str:
    """Return the first contradiction found, or an empty string."""
    return next(_contradictions(trajectory), "")


def _contradictions(trajectory: Trajectory) -> Iterator[str]:
    yield from _of_task(trajectory.task)
    outcome = trajectory.outcome
    if outcome.abandoned:
        if trajectory.turns:
            yield f"abandoned ({outcome.abandoned}), yet it has {len(trajectory.turns)} turns"
        return
    if not trajectory.turns:
        yield "no turns, yet not abandoned"
    if outcome.terminated and outcome.truncated:
        yield "both terminated and truncated"
    if trajectory.next_prompt_ids and not outcome.truncated:
        yield "a next prompt, yet not truncated"
    if len(trajectory.next_prompt_ids) % _TOKEN_BYTES:
        yield "next_prompt_ids is no list of int32"
    for position, turn in enumerate(trajectory.turns):
        if turn.index != position:
            yield f"turn {turn.index} at position {position}"
        for fault in _of_turn(turn):
            yield f"turn {position}: {fault}"


def _of_task(task: Task) -> Iterator[str]:
    if not (task.trajectory_id and task.batch_id and task.batch_size):
        yield "its task lacks trajectory_id, batch_id or batch_size"
    if task.kind == types_pb2.TASK_KIND_UNSPECIFIED:
        yield "its task is neither for training nor for evaluation"


def _of_turn(turn: Turn) -> Iterator[str]:
    if not turn.prompt_ids or len(turn.prompt_ids) % _TOKEN_BYTES:
        yield "prompt_ids is empty or no list of int32"
    tokens, rest = divmod(len(turn.response_ids), _TOKEN_BYTES)
    if rest:
        yield "response_ids is no list of int32"
    if len(turn.response_logprobs) != len(turn.response_ids):
        yield f"{len(turn.response_logprobs) / _TOKEN_BYTES:g} log-probabilities for {tokens} tokens"
    elif not np.isfinite(np.frombuffer(turn.response_logprobs, dtype="<f4")).all():
        yield "a log-probability is not finite"
    # An absent span reads as [0, 0).
    spans = {"switch": turn.switch_span, "sub-goal": turn.subgoal_span, "action": turn.action_span}
    for name, span in spans.items():
        if not span.start <= span.end <= tokens:
            yield f"{name} span [{span.start}, {span.end}) in {tokens} tokens"
    if turn.value_low_position > tokens:
        yield f"value_low_position {turn.value_low_position} in {tokens} tokens"
    if not np.isfinite(turn.env_reward):
        yield f"env_reward is {turn.env_reward}"
