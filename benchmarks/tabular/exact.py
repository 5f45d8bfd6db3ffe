"""The exact solution of a `Problem`: values by backward, visits by forward recursion, and the policy gradient of both.

The gradient is the sum in section 2 of method.md with true advantages, taken over all states instead of over samples:

    dJ/d switch[s,o']   = sum_t c_t(s,o') beta (1 - beta) (V_high_t(s) - V_low_t(s,o'))
    dJ/d subgoal[s,o]   = sum_t b_t(s) pi(o|s) (V_low_t(s,o) - V_high_t(s))
    dJ/d action[s,o,a]  = sum_t d_t(s,o) pi(a|s,o) (Q_t(s,o,a) - V_low_t(s,o))

with c_t the probability of deciding at turn t in state s with o' in force, b_t that of drawing a sub-goal, d_t that of
acting. It uses no estimator of `hiper.advantages`; a test compares it with finite differences of J.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.tabular.problem import GOAL, HORIZON, REWARD, STATES, SUBGOALS, FloatArray, Gradient, Problem

__all__ = ["Heads", "Solution", "at_switch_rate"]


@dataclass(frozen=True, eq=False)
class Heads:
    """What a critic with three heads says, by turn. Exact ones are values of the policy."""

    low: FloatArray
    """V_low(s_t, o_t), [HORIZON, STATES, SUBGOALS]."""
    high: FloatArray
    """V_high(s_t), [HORIZON, STATES]."""
    switch: FloatArray
    """V_switch(s_t, o_{t-1}), [HORIZON, STATES, SUBGOALS]."""

    def with_errors(self, rng: np.random.Generator, scale: float) -> "Heads":
        """The same heads, each entry off by its own fixed N(0, scale^2) error."""
        return Heads(*(head + rng.normal(0, scale, head.shape) for head in (self.low, self.high, self.switch)))


@dataclass(frozen=True, eq=False)
class Solution:
    """Everything there is to know about a problem under its policy."""

    heads: Heads
    """Exact values; gamma is 1."""
    gradient: Gradient
    """Of the expected return, exact."""
    expected_return: float
    """J."""
    switch_rate: float
    """Share of SWITCH among the decisions, i.e. turns after the first."""
    turns: float
    """Mean length of an episode."""

    @classmethod
    def of(cls, problem: Problem) -> "Solution":
        """Solve `problem`."""
        heads, action_value = _values(problem)
        decide, draw, act = _visits(problem)
        beta, subgoal, action = problem.switch_probability, problem.subgoal_probability, problem.action_probability
        gain = heads.high[:, :, None] - heads.low
        gradient = Gradient(
            switch=(decide * gain).sum(0) * beta * (1 - beta),
            subgoal=-(draw[:, :, None] * gain).sum(0) * subgoal,
            action=(act[..., None] * (action_value - heads.low[..., None])).sum(0) * action,
        )
        return cls(
            heads=heads,
            gradient=gradient,
            expected_return=float(problem.start @ heads.high[0]),
            switch_rate=float((decide * beta).sum() / decide.sum()),
            turns=float(act.sum()),
        )


def _values(problem: Problem) -> tuple[Heads, FloatArray]:
    """The three value functions, and Q_t(s, o, a), [HORIZON, STATES, SUBGOALS, ACTIONS]."""
    beta, subgoal, action = problem.switch_probability, problem.subgoal_probability, problem.action_probability
    low, switch = np.zeros((2, HORIZON, STATES, SUBGOALS))
    high = np.zeros((HORIZON, STATES))
    q = np.zeros((HORIZON, STATES, SUBGOALS, action.shape[-1]))
    following = np.zeros((STATES, SUBGOALS))
    for t in reversed(range(HORIZON)):
        following[GOAL] = REWARD
        q[t] = np.einsum("sau,uo->soa", problem.transition, following)
        low[t] = (q[t] * action).sum(-1)
        high[t] = (low[t] * subgoal).sum(-1)
        switch[t] = beta * high[t][:, None] + (1 - beta) * low[t]
        following = switch[t].copy()
    return Heads(low, high, switch), q


def _visits(problem: Problem) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Probabilities of deciding, [HORIZON, STATES, SUBGOALS], drawing, [HORIZON, STATES], and acting, like deciding."""
    beta, subgoal, action = problem.switch_probability, problem.subgoal_probability, problem.action_probability
    decide, act = np.zeros((2, HORIZON, STATES, SUBGOALS))
    draw = np.zeros((HORIZON, STATES))
    draw[0] = problem.start
    for t in range(HORIZON):
        if t > 0:
            moved = np.einsum("so,soa,sau->uo", act[t - 1], action, problem.transition)
            moved[GOAL] = 0.0
            decide[t] = moved
            draw[t] = (moved * beta).sum(-1)
        act[t] = draw[t][:, None] * subgoal + decide[t] * (1 - beta)
    return decide, draw, act


def at_switch_rate(problem: Problem, rate: float) -> Problem:
    """The same problem with its switch logits moved so far that `rate` of the decisions are SWITCH; 1.0 means always.

    The rate grows with the bias, so halving an interval finds it.
    """
    if not 0.0 < rate <= 1.0:
        raise ValueError(f"a switch rate of {rate} is not in (0, 1]")
    always = 50.0  # the logistic function of it is 1 in double precision
    if rate == 1.0:
        return problem.with_switch_bias(always)
    low, high = -always, always
    for _ in range(60):
        middle = (low + high) / 2
        if Solution.of(problem.with_switch_bias(middle)).switch_rate < rate:
            low = middle
        else:
            high = middle
    return problem.with_switch_bias((low + high) / 2)
