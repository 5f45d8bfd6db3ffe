"""Per-turn rewards of one trajectory as a sum of named terms (method.md, section 7).

The maths is `hiper.advantages.shaping`; this module reads what it needs from a trajectory and writes the terms back.
Every term that is not zero is kept by its name, so that a viewer can say what a reward is made of.
"""

import numpy as np

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.advantages.shaping import KeepPenaltyMode, ShapingConfig, ShapingTurns, reward_terms
from hiper.config.sections import RewardSettings

__all__ = ["score", "shaping_config"]


def shaping_config(settings: RewardSettings) -> ShapingConfig:
    """The weights of the terms, as configured."""
    return ShapingConfig(
        success=settings.success,
        keep_penalty=settings.keep_penalty,
        keep_penalty_mode=KeepPenaltyMode(settings.keep_penalty_mode),
        invalid_output=settings.invalid_output,
        inadmissible_action=settings.inadmissible_action,
        consistency=settings.consistency,
    )


def score(trajectory: Trajectory, config: ShapingConfig) -> None:
    """Set `reward` and `reward_terms` of every turn; a pure function of what the rollout recorded."""
    if not trajectory.turns:
        return
    terms = reward_terms(_shaping_turns(trajectory), config)
    for row, turn in enumerate(trajectory.turns):
        parts = {name.value: float(values[row]) for name, values in terms.items()}
        turn.reward_terms.clear()
        turn.reward_terms.update({name: value for name, value in parts.items() if value})
        turn.reward = sum(parts.values())


def _shaping_turns(trajectory: Trajectory) -> ShapingTurns:
    turns = trajectory.turns
    solved = np.zeros(len(turns))
    solved[-1] = trajectory.outcome.won
    written = np.array([turn.HasField("subgoal_span") for turn in turns])
    consistent = np.array([turn.subgoal_consistent for turn in turns])
    return ShapingTurns(
        trajectory=np.zeros(len(turns), dtype=np.int64),
        turn=np.array([turn.index for turn in turns]),
        switch=np.array([turn.is_switch for turn in turns]),
        base=solved,
        valid=np.array([turn.valid for turn in turns]),
        admissible=np.array([turn.action_admissible for turn in turns]),
        inconsistent=written & ~consistent,
        subgoal_missing=~written,
    )
