"""A semi-Markov plan-execute problem small enough to be solved exactly, with a softmax policy (method.md, section 2).

Each turn: the policy decides to keep or to switch, draws a sub-goal if it switched (turn 0 always does, and decides
nothing), and draws an action given state and sub-goal. Reaching the goal state pays `REWARD` and ends the episode; so
does the horizon, without pay. Time is part of the state, so the horizon is a termination, not a truncation.

The state that follows depends on state and action only, as in the method; the sub-goal acts through the policy.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["ACTIONS", "GOAL", "HORIZON", "PARAMETERS", "REWARD", "STATES", "SUBGOALS", "Gradient", "Problem"]

STATES, SUBGOALS, ACTIONS, HORIZON = 8, 3, 3, 20
GOAL = STATES - 1
REWARD = 10.0

FloatArray = NDArray[np.float64]

_SHAPES = {"switch": (STATES, SUBGOALS), "subgoal": (STATES, SUBGOALS), "action": (STATES, SUBGOALS, ACTIONS)}
PARAMETERS = sum(int(np.prod(shape)) for shape in _SHAPES.values())
"""Numbers the policy has: a logit per (state, previous sub-goal), (state, sub-goal) and (state, sub-goal, action)."""

_SPREAD = 1.0
"""Standard deviation of the logits: the policy has preferences, and no probability is negligible."""
_CONCENTRATION = 0.3
"""Of the Dirichlet that transitions are drawn from: an action mostly leads to one or two states."""
_GOAL_FACTOR = 0.25
"""Scale of the chance to reach the goal, so that about half of the episodes do: the reward is sparse."""


@dataclass(frozen=True, eq=False)
class Gradient:
    """One number per parameter; the leading axes, if any, count samples."""

    switch: FloatArray
    """[..., state, previous sub-goal]"""
    subgoal: FloatArray
    """[..., state, sub-goal]"""
    action: FloatArray
    """[..., state, sub-goal, action]"""

    def flat(self) -> FloatArray:
        """All parameters in a row, [..., PARAMETERS]."""
        parts = (self.switch, self.subgoal, self.action)
        lead = self.switch.shape[:-2]
        return np.concatenate([part.reshape(*lead, -1) for part in parts], axis=-1)


@dataclass(frozen=True, eq=False)
class Problem:
    """Dynamics and policy. The arrays with `logits` in their names are the parameters."""

    transition: FloatArray
    """P(next state | state, action), [STATES, ACTIONS, STATES]; nothing starts at GOAL."""
    start: FloatArray
    """P(first state), [STATES]; 0 at GOAL."""
    switch_logits: FloatArray
    """[STATES, SUBGOALS]; the sub-goal is the previous one."""
    subgoal_logits: FloatArray
    """[STATES, SUBGOALS]"""
    action_logits: FloatArray
    """[STATES, SUBGOALS, ACTIONS]"""

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Problem":
        """Draw a problem and a policy."""
        transition = rng.dirichlet(np.full(STATES, _CONCENTRATION), size=(STATES, ACTIONS))
        transition[..., GOAL] *= _GOAL_FACTOR
        transition /= transition.sum(-1, keepdims=True)
        start = np.append(rng.dirichlet(np.ones(STATES - 1)), 0.0)
        return cls(
            transition=transition,
            start=start,
            switch_logits=rng.normal(0, _SPREAD, _SHAPES["switch"]),
            subgoal_logits=rng.normal(0, _SPREAD, _SHAPES["subgoal"]),
            action_logits=rng.normal(0, _SPREAD, _SHAPES["action"]),
        )

    def with_switch_bias(self, bias: float) -> "Problem":
        """The same problem with `bias` added to every switch logit."""
        return replace(self, switch_logits=self.switch_logits + bias)

    def moved(self, step: Gradient) -> "Problem":
        """The same problem with `step` added to the parameters."""
        return replace(
            self,
            switch_logits=self.switch_logits + step.switch,
            subgoal_logits=self.subgoal_logits + step.subgoal,
            action_logits=self.action_logits + step.action,
        )

    @property
    def switch_probability(self) -> FloatArray:
        """P(SWITCH | state, previous sub-goal), [STATES, SUBGOALS]."""
        return 1.0 / (1.0 + np.exp(-self.switch_logits))

    @property
    def subgoal_probability(self) -> FloatArray:
        """P(sub-goal | state), [STATES, SUBGOALS]."""
        return _softmax(self.subgoal_logits)

    @property
    def action_probability(self) -> FloatArray:
        """P(action | state, sub-goal), [STATES, SUBGOALS, ACTIONS]."""
        return _softmax(self.action_logits)


def _softmax(logits: FloatArray) -> FloatArray:
    grown = np.exp(logits - logits.max(-1, keepdims=True))
    normalised: FloatArray = grown / grown.sum(-1, keepdims=True)
    return normalised
