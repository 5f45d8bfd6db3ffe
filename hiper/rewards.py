"""What a reward term is, for everybody who writes one: a function from an episode to one number per turn.

    from hiper.rewards import TrajectoryView

    def brevity(trajectory: TrajectoryView, *, words: int = 8) -> list[float]:
        return [-float(len(turn.subgoal.split()) > words) for turn in trajectory.turns]

A run names it under `reward.terms` (docs/rewards.md). The function may be `async`; one that is not runs on a thread, so
it may block, but not for longer than its deadline. It sees a copy that cannot be changed. It should be a pure function
of what it sees: after a crash a trajectory may be scored again.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hiper._proto.common.v1.types_pb2 import TASK_KIND_EVAL
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory, Turn

__all__ = ["ENTRY_POINT_GROUP", "RewardTerm", "TrajectoryView", "TurnView"]

ENTRY_POINT_GROUP = "hiper.reward_terms"
"""Entry points of this group can be named by `reward.terms.<name>.entry_point`."""

_TOKEN_BYTES = 4


@dataclass(frozen=True, slots=True)
class TurnView:
    """One turn as it was played."""

    index: int
    """Position in the episode, from 0."""
    observation: str
    """What the action was chosen on; empty where text is not kept."""
    subgoal: str
    """The sub-goal in force; empty if there is none."""
    action: str
    """What was sent to the environment."""
    is_switch: bool
    valid: bool
    """The response is well-formed."""
    action_admissible: bool
    subgoal_consistent: bool
    """On a KEEP turn: the sub-goal written equals the one in force."""
    response_tokens: int
    stop_reason: str
    """A value of `hiper.vocabulary.StopReason`."""
    env_reward: float
    """Reward as the environment gave it."""

    @classmethod
    def of(cls, turn: Turn) -> "TurnView":
        """Copy what a term may see of a turn."""
        return cls(
            index=turn.index,
            observation=turn.observation,
            subgoal=turn.subgoal,
            action=turn.action,
            is_switch=turn.is_switch,
            valid=turn.valid,
            action_admissible=turn.action_admissible,
            subgoal_consistent=turn.subgoal_consistent,
            response_tokens=len(turn.response_ids) // _TOKEN_BYTES,
            stop_reason=turn.stop_reason,
            env_reward=turn.env_reward,
        )


@dataclass(frozen=True, slots=True)
class TrajectoryView:
    """One finished episode; it has at least one turn."""

    trajectory_id: str
    env: str
    task_id: str
    task_type: str
    split: str
    evaluation: bool
    """It is measured, not trained on."""
    won: bool
    score: float
    """The environment's own score in [0, 1]."""
    terminated: bool
    """The environment ended the episode."""
    truncated: bool
    """A step limit ended it."""
    turns: tuple[TurnView, ...]

    @classmethod
    def of(cls, trajectory: Trajectory) -> "TrajectoryView":
        """Copy what a term may see of a trajectory."""
        task, outcome = trajectory.task, trajectory.outcome
        return cls(
            trajectory_id=task.trajectory_id,
            env=task.env,
            task_id=task.task_id,
            task_type=trajectory.task_type,
            split=trajectory.split,
            evaluation=task.kind == TASK_KIND_EVAL,
            won=outcome.won,
            score=outcome.score,
            terminated=outcome.terminated,
            truncated=outcome.truncated,
            turns=tuple(TurnView.of(turn) for turn in trajectory.turns),
        )


class RewardTerm(Protocol):
    """One number per turn, finite, before its weight. The `options` of the configuration come as keyword arguments."""

    def __call__(self, trajectory: TrajectoryView, **options: object) -> Sequence[float] | Awaitable[Sequence[float]]:
        """Return `len(trajectory.turns)` numbers. What it raises sends the trajectory to the dead letters."""
