"""Per-turn rewards of one trajectory as a sum of named terms (method.md, section 7).

The maths of the built-in terms is `hiper.advantages.shaping`; this module reads what it needs from a trajectory and
writes the terms back, those of plug-ins beside them. Every term that is not zero is kept by its name, so that a viewer
can say what a reward is made of.
"""

import math
from collections.abc import Mapping

import numpy as np

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.advantages.columns import FloatArray
from hiper.advantages.shaping import KeepPenaltyMode, ShapingConfig, ShapingTurns, reward_terms
from hiper.config.sections import RewardSettings
from hiper.errors import IntegrityError

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


def score(trajectory: Trajectory, config: ShapingConfig, plugins: Mapping[str, FloatArray] | None = None) -> None:
    """Set `reward` and `reward_terms` of every turn from what the rollout recorded and, [turns] each, from `plugins`.

    A pure function. Raises `IntegrityError` if a sum is not finite.
    """
    if not trajectory.turns:
        return
    terms = {name.value: values for name, values in reward_terms(_shaping_turns(trajectory), config).items()}
    terms.update(plugins or {})
    for row, turn in enumerate(trajectory.turns):
        parts = {name: float(values[row]) for name, values in terms.items()}
        turn.reward_terms.clear()
        turn.reward_terms.update({name: value for name, value in parts.items() if value})
        turn.reward = sum(parts.values())
        if not math.isfinite(turn.reward):
            raise IntegrityError(f"turn {row}: the sum of its reward terms is {turn.reward}", "lower their weights")


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
