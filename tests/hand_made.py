"""Trajectories made by hand: valid by default, every field that matters in the caller's reach."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hiper._proto.common.v1.types_pb2 import TASK_KIND_EVAL, TASK_KIND_TRAIN, TokenSpan
from hiper._proto.trajectory.v1.trajectory_pb2 import Outcome, Task, Trajectory, Turn

__all__ = ["Made", "ids", "make_task", "make_trajectory"]

RUN = "test"


@dataclass(frozen=True)
class Made:
    """One turn: its decision, and what is wrong with it."""

    switch: bool = False
    valid: bool = True
    admissible: bool = True
    consistent: bool = True
    subgoal_block: bool = True


def ids(*tokens: int) -> bytes:
    return np.array(tokens, dtype="<i4").tobytes()


def make_task(sample: int = 0, *, batch: str = "train-000000", size: int = 1, run: str = RUN) -> Task:
    return Task(
        schema_version=1,
        run=run,
        trajectory_id=f"{run}/{batch}/0/{sample}",
        batch_id=batch,
        batch_size=size,
        sample=sample,
        kind=TASK_KIND_EVAL if batch.startswith("eval") else TASK_KIND_TRAIN,
        env="alfworld",
        task_id="t",
        max_steps=50,
    )


def make_trajectory(
    turns: Sequence[Made], *, task: Task | None = None, won: bool = False, truncated: bool = False
) -> Trajectory:
    """Each response has 9 tokens: switch [0, 3), sub-goal [3, 6), action [6, 8), end of sequence."""
    task = task or make_task()
    made = Trajectory(
        schema_version=1,
        task=task,
        outcome=Outcome(won=won, terminated=not truncated, truncated=truncated, score=float(won)),
        next_prompt_ids=ids(9, task.sample, len(turns)) if truncated else b"",
    )
    for index, turn in enumerate(turns):
        made.turns.append(
            Turn(
                index=index,
                prompt_ids=ids(1, task.sample, index),
                response_ids=ids(*range(9)),
                response_logprobs=np.full(9, -0.5, dtype="<f4").tobytes(),
                stop_reason="stop",
                is_switch=turn.switch,
                switch_span=TokenSpan(start=0, end=3),
                subgoal_span=TokenSpan(start=3, end=6) if turn.subgoal_block else None,
                action_span=TokenSpan(start=6, end=8),
                value_low_position=6,
                valid=turn.valid,
                action_admissible=turn.admissible,
                subgoal_consistent=turn.consistent,
                subgoal="find a mug",
                action="look",
            )
        )
    return made
