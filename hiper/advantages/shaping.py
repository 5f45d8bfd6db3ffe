"""Reward shaping: the per-turn reward as a sum of named terms (method.md, section 7).

Penalties keep the sign the method gives them: `keep_penalty` and `consistency` are <= 0 and added, `invalid_output` and
`inadmissible_action` are >= 0 and taken off. Scale them with `success`. Copies of a turn get 0 in every term and count
towards no other turn's.
"""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from hiper.advantages.checks import member
from hiper.advantages.columns import BOOL, FLOAT, INT, BoolArray, Columns, FloatArray, IntArray
from hiper.advantages.order import TurnOrder
from hiper.errors import ConfigError
from hiper.vocabulary import ShapingTerm

__all__ = ["KeepPenaltyMode", "ShapingConfig", "ShapingTurns", "reward_terms", "shaped_reward"]


class KeepPenaltyMode(StrEnum):
    """How the KEEP penalty is spread."""

    FIXED = "fixed"
    """Every KEEP turn gets it, a KEEP at turn 0 included."""
    NORMALIZED = "normalized"
    """Every KEEP turn gets its T-th part, so that an episode pays by its share of KEEP turns; episodes of one turn are
    exempt."""


@dataclass(frozen=True)
class ShapingConfig:
    """Weights of the terms; the defaults are the released ALFWorld values."""

    success: float = 10.0
    """Factor of the base reward."""
    keep_penalty: float = -0.3
    keep_penalty_mode: KeepPenaltyMode = KeepPenaltyMode.NORMALIZED
    invalid_output: float = 0.1
    inadmissible_action: float = 0.0
    consistency: float = -0.3
    consistency_requires_both: bool = True
    """True: no consistency penalty where a sub-goal to compare is missing. False: a KEEP turn without one pays."""

    def __post_init__(self) -> None:
        mode = member("keep_penalty_mode", KeepPenaltyMode, self.keep_penalty_mode)
        object.__setattr__(self, "keep_penalty_mode", mode)
        for name, sign in (
            ("keep_penalty", -1),
            ("consistency", -1),
            ("invalid_output", 1),
            ("inadmissible_action", 1),
        ):
            if sign * getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}", f"choose a number {'>=' if sign > 0 else '<='} 0")


@dataclass(frozen=True, eq=False)
class ShapingTurns(Columns):
    """What shaping knows of the turns, [rows] each, in any order."""

    trajectory: IntArray = field(metadata=INT)
    turn: IntArray = field(metadata=INT)
    switch: BoolArray = field(metadata=BOOL)
    """The parsed decision is SWITCH."""
    base: FloatArray = field(metadata=FLOAT)
    """What `success` multiplies: 1 on the turn that solved the task, or the environment's reward."""
    valid: BoolArray = field(metadata=BOOL)
    """The response is well-formed."""
    admissible: BoolArray = field(metadata=BOOL)
    """The action was on offer."""
    inconsistent: BoolArray = field(metadata=BOOL)
    """Both sub-goals exist and differ: the one written and the one it should repeat. Counts on KEEP turns only."""
    subgoal_missing: BoolArray = field(metadata=BOOL)
    """One of these two sub-goals does not exist. Counts on KEEP turns, and only if not `consistency_requires_both`."""


def reward_terms(turns: ShapingTurns, config: ShapingConfig) -> dict[ShapingTerm, FloatArray]:
    """Compute every term for every turn, [rows] each."""
    order = TurnOrder.of(turns.trajectory, turns.turn)
    rows = order.rows
    keep = ~turns.switch[rows]
    drifted = turns.inconsistent[rows]
    if not config.consistency_requires_both:
        drifted = drifted | turns.subgoal_missing[rows]
    distinct = {
        ShapingTerm.SUCCESS: config.success * turns.base[rows],
        ShapingTerm.KEEP: config.keep_penalty * _keep_share(order, keep, config.keep_penalty_mode),
        ShapingTerm.INVALID_OUTPUT: -config.invalid_output * ~turns.valid[rows],
        ShapingTerm.INADMISSIBLE_ACTION: -config.inadmissible_action * ~turns.admissible[rows],
        ShapingTerm.CONSISTENCY: config.consistency * (keep & ~order.first & drifted),
    }
    terms = {}
    for term, values in distinct.items():
        terms[term] = np.zeros(len(turns))
        terms[term][rows] += values
    return terms


def shaped_reward(turns: ShapingTurns, config: ShapingConfig) -> FloatArray:
    """Sum of the terms, [rows]."""
    total = np.zeros(len(turns))
    for values in reward_terms(turns, config).values():
        total += values
    return total


def _keep_share(order: TurnOrder, keep: BoolArray, mode: KeepPenaltyMode) -> FloatArray:
    """Part of the KEEP penalty each distinct turn pays, [turns]."""
    if mode is KeepPenaltyMode.FIXED:
        return keep.astype(np.float64)
    share: FloatArray = (keep & (order.lengths >= 2)) / order.lengths
    return share
