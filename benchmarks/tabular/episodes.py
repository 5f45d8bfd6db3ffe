"""Sampled episodes of a `Problem`: the table that estimators read, and the gradient that their advantages make.

An estimate is `sum_t A_switch grad log pi(q_t) + A_high grad log pi(o_t) + A_low grad log pi(a_t)` over the turns of an
episode, with the advantages an estimator of `hiper.advantages` gives and the exact scores of the policy. Turn 0 decides
nothing, so it owns no switch token. Levels without an advantage (NaN) add nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.tabular.exact import Heads
from benchmarks.tabular.problem import ACTIONS, GOAL, HORIZON, PARAMETERS, REWARD, STATES, SUBGOALS, FloatArray, Problem
from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.vocabulary import Level

__all__ = ["GROUP", "Episodes"]

GROUP = 8
"""Episodes of one group; the released GRPO and GiGPO baselines use as many (method.md, section 13)."""

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_SUBGOAL_AT = STATES * SUBGOALS
_ACTION_AT = 2 * STATES * SUBGOALS
"""Where the parameters of the sub-goal and of the action begin in `Gradient.flat`."""


@dataclass(frozen=True, eq=False)
class Episodes:
    """Turns of sampled episodes, [turns] each: episode after episode, turns ascending."""

    problem: Problem
    count: int
    """Episodes."""
    episode: IntArray
    turn: IntArray
    state: IntArray
    previous: IntArray
    """Sub-goal before the decision; 0, which means nothing, at turn 0."""
    switch: BoolArray
    """True at turn 0."""
    subgoal: IntArray
    action: IntArray
    reward: FloatArray
    ended: BoolArray

    @classmethod
    def sample(cls, problem: Problem, count: int, rng: np.random.Generator) -> "Episodes":
        """Play `count` episodes side by side."""
        beta, transition = problem.switch_probability, problem.transition.cumsum(-1)
        choose_subgoal, choose_action = problem.subgoal_probability.cumsum(-1), problem.action_probability.cumsum(-1)
        alive = np.arange(count)
        state = _draw(np.broadcast_to(problem.start.cumsum(), (count, STATES)), rng)
        previous = np.zeros(count, dtype=np.int64)
        columns: list[tuple[NDArray[np.generic], ...]] = []
        for t in range(HORIZON):
            switch = (rng.random(len(alive)) < beta[state, previous]) if t > 0 else np.ones(len(alive), dtype=np.bool_)
            subgoal = np.where(switch, _draw(choose_subgoal[state], rng), previous)
            action = _draw(choose_action[state, subgoal], rng)
            following = _draw(transition[state, action], rng)
            won = following == GOAL
            ended = won | (t == HORIZON - 1)
            turn = np.full(len(alive), t)
            columns.append((alive, turn, state, previous, switch, subgoal, action, REWARD * won, ended))
            alive, state, previous = alive[~ended], following[~ended], subgoal[~ended]
        by_episode = np.argsort(np.concatenate([column[0] for column in columns]), kind="stable")
        return cls(problem, count, *(np.concatenate(parts)[by_episode] for parts in zip(*columns, strict=True)))

    def batch(self, heads: Heads) -> TurnBatch:
        """The table an estimator reads. Every turn owns the three blocks, but turn 0 decides nothing."""
        t, s, before = self.turn, self.state, self.previous
        there = np.ones(len(t), dtype=np.bool_)
        return TurnBatch(
            trajectory=self.episode,
            turn=t,
            switch=self.switch,
            reward=self.reward,
            terminated=self.ended,
            truncated=~there,
            v_low=heads.low[t, s, self.subgoal],
            v_high=heads.high[t, s],
            # Nothing is in force at turn 0, so nothing but the state is known there.
            v_switch=np.where(t == 0, heads.high[t, s], heads.switch[t, s, before]),
            has_action_tokens=there,
            has_subgoal_tokens=there,
            has_switch_tokens=t > 0,
            previous_v_low=heads.low[t, s, before],
            switch_probability=self.problem.switch_probability[s, before],
            group=self.episode // GROUP,
            anchor=s,
        )

    def scores(self) -> "Scores":
        """The gradient of the log-probability of everything that was sampled."""
        problem, s, columns, rows = self.problem, self.state, [], len(self.turn)
        pair = s * SUBGOALS + self.previous
        columns.append((pair, self.switch - problem.switch_probability[s, self.previous]))
        for o in range(SUBGOALS):
            columns.append((_SUBGOAL_AT + s * SUBGOALS + o, (self.subgoal == o) - problem.subgoal_probability[s, o]))
        base = _ACTION_AT + (s * SUBGOALS + self.subgoal) * ACTIONS
        for a in range(ACTIONS):
            columns.append((base + a, (self.action == a) - problem.action_probability[s, self.subgoal, a]))
        group = (self.episode // GROUP * PARAMETERS)[:, None]
        index = np.column_stack([place for place, _ in columns])
        assert index.shape == (rows, 1 + SUBGOALS + ACTIONS)
        return Scores(-(-self.count // GROUP), index + group, np.column_stack([value for _, value in columns]))


@dataclass(frozen=True, eq=False)
class Scores:
    """The sparse score of each turn: which parameters it moves, and how far."""

    groups: int
    index: IntArray
    """Group of the episode times PARAMETERS plus the parameter, [turns, 1 + SUBGOALS + ACTIONS]."""
    value: FloatArray
    """[turns, 1 + SUBGOALS + ACTIONS]"""

    def gradients(self, estimate: TurnAdvantages) -> FloatArray:
        """Mean gradient of the episodes of each group, [groups, PARAMETERS], from the advantages before whitening."""
        owner = (Level.SWITCH, *[Level.HIGH] * SUBGOALS, *[Level.LOW] * ACTIONS)
        advantage = np.column_stack([np.nan_to_num(estimate.raw[level]) for level in owner])
        summed = np.bincount(self.index.ravel(), (self.value * advantage).ravel(), self.groups * PARAMETERS)
        return summed.reshape(self.groups, PARAMETERS) / GROUP


def _draw(cumulative: FloatArray, rng: np.random.Generator) -> IntArray:
    """One index per row of cumulative probabilities, [n, k] to [n]."""
    drawn: IntArray = (rng.random((len(cumulative), 1)) > cumulative[:, :-1]).sum(-1)
    return drawn
