"""Where HAE is flat GAE, exactly, and where it is not (method.md, section 16), on episodes with invented values.

The identities hold for any values, so the heads are random numbers. Differences are the largest over all turns.
"""

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.tabular.episodes import Episodes
from benchmarks.tabular.exact import Heads
from benchmarks.tabular.problem import HORIZON, STATES, SUBGOALS, FloatArray, Problem
from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.columns import IntArray
from hiper.advantages.gae import GaeConfig, estimate_gae
from hiper.advantages.hae import HaeConfig, estimate_hae
from hiper.vocabulary import Level

__all__ = ["Reduction", "check_reductions"]

_GAMMA, _LAM_LOW, _LAM_SEG = 0.9, 0.8, 0.95
_EPISODES = 400


@dataclass(frozen=True)
class Reduction:
    """One identity and how well it holds."""

    statement: str
    difference: float
    holds: bool
    """Whether the two sides are meant to be equal; False marks a counterexample."""


def check_reductions(problem: Problem, rng: np.random.Generator) -> list[Reduction]:
    """Compare both sides of every identity."""
    heads = Heads(
        low=rng.normal(0, 5, (HORIZON, STATES, SUBGOALS)),
        high=rng.normal(0, 5, (HORIZON, STATES)),
        switch=rng.normal(0, 5, (HORIZON, STATES, SUBGOALS)),
    )
    batch = Episodes.sample(problem, _EPISODES, rng).batch(heads)
    every = replace(batch, switch=np.ones(len(batch), bool))
    shared = replace(every, v_low=every.v_high, v_switch=every.v_high)
    none = replace(batch, switch=np.zeros(len(batch), bool))
    hae_every, hae_shared, hae_none = _hae(every), _hae(shared), _hae(none)
    td_all = _hae(shared, lam_low=0.0, lam_seg=0.0)
    td = _gae(shared, Level.HIGH, 0.0)
    return [
        _equal("all SWITCH: A_high = GAE(lam_seg) on V_high", hae_every.raw[Level.HIGH], _gae(every, Level.HIGH)),
        _equal("all SWITCH, V_low = V_high: A_low = GAE(0)", hae_shared.raw[Level.LOW], td),
        _unequal(
            "all SWITCH, V_low = V_high: A_low is not GAE(lam_low)",
            hae_shared.raw[Level.LOW],
            _gae(shared, Level.HIGH, _LAM_LOW),
        ),
        _equal(
            "all SWITCH, one value, lam 0: all three levels = GAE(0)",
            *(np.concatenate(sides) for sides in ([td_all.raw[level] for level in Level], [td] * 3)),
        ),
        _equal("one segment: A_low = GAE(lam_low) on V_low", hae_none.raw[Level.LOW], _gae(none, Level.LOW, _LAM_LOW)),
        *_telescoping(batch),
    ]


def _telescoping(batch: TurnBatch) -> list[Reduction]:
    """At gamma = lambda = 1 an advantage is a return less a value."""
    hae = estimate_hae(batch, HaeConfig(gamma=1.0, lam_low=1.0, lam_seg=1.0, whiten=False))
    to_go = _suffix_sums(batch.reward, batch.trajectory)
    inside = _suffix_sums(batch.reward, hae.segment)
    final = np.append(hae.segment[1:] != hae.segment[:-1], True)
    beyond = np.where(np.append(hae.boundary[1:], True) & ~batch.terminated, np.append(batch.v_high[1:], 0.0), 0.0)
    bootstrap = beyond[np.flatnonzero(final)][hae.segment]
    return [
        _equal(
            "gamma = lam = 1: A_low = return to the segment's end + V_high of the next - V_low",
            hae.raw[Level.LOW],
            inside + bootstrap - batch.v_low,
        ),
        _equal(
            "gamma = lam = 1: A_high = return to the episode's end - V_high",
            hae.raw[Level.HIGH][hae.boundary],
            (to_go - batch.v_high)[hae.boundary],
        ),
    ]


def _suffix_sums(values: FloatArray, run: IntArray) -> FloatArray:
    """Sum of `values` from each turn to the end of its run of equal numbers, written as plainly as can be."""
    sums = values.copy()
    for i in reversed(range(len(values) - 1)):
        if run[i] == run[i + 1]:
            sums[i] += sums[i + 1]
    return sums


def _hae(batch: TurnBatch, lam_low: float = _LAM_LOW, lam_seg: float = _LAM_SEG) -> TurnAdvantages:
    batch = replace(batch, has_switch_tokens=np.ones(len(batch), bool))
    return estimate_hae(batch, HaeConfig(gamma=_GAMMA, lam_low=lam_low, lam_seg=lam_seg, whiten=False))


def _gae(batch: TurnBatch, head: Level, lam: float = _LAM_SEG) -> FloatArray:
    return estimate_gae(batch, GaeConfig(gamma=_GAMMA, lam=lam, whiten=False, head=head)).raw[Level.LOW]


def _equal(statement: str, left: FloatArray, right: FloatArray) -> Reduction:
    return Reduction(statement, float(np.abs(left - right).max()), holds=True)


def _unequal(statement: str, left: FloatArray, right: FloatArray) -> Reduction:
    return Reduction(statement, float(np.abs(left - right).max()), holds=False)
