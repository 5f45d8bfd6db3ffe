"""The measurements: bias and variance of the gradient that each estimator makes, by switch rate and seed.

Every seed is another problem, another policy and other critic errors. The exact gradient is known, so bias is measured
against the truth. With errors in the heads it is measured on the difference to the same estimator with exact heads on
the same episodes: with those the estimators have no bias (measured too), and the difference has far less noise.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.tabular.episodes import GROUP, Episodes
from benchmarks.tabular.exact import Heads, Solution, at_switch_rate
from benchmarks.tabular.measure import Moments
from benchmarks.tabular.problem import REWARD, STATES, SUBGOALS, FloatArray, Problem
from benchmarks.tabular.reductions import Reduction, check_reductions
from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.gae import GaeConfig, estimate_gae
from hiper.advantages.gigpo import GigpoConfig, estimate_gigpo
from hiper.advantages.groups import GroupNorm
from hiper.advantages.grpo import GrpoConfig, estimate_grpo
from hiper.advantages.hae import HaeConfig, HaeMode, estimate_hae
from hiper.advantages.hae_gigpo import HaeGigpoConfig, estimate_hae_gigpo
from hiper.advantages.hae_group import HaeGroupConfig, estimate_hae_group
from hiper.advantages.rloo import RlooConfig, estimate_rloo

__all__ = ["CRITIC", "GROUPED", "NOISY", "Cell", "Figures", "Study", "StudySettings", "run_study"]

Estimator = Callable[[TurnBatch], TurnAdvantages]

_CHUNK = 16_000
"""Episodes in memory at once, about 200,000 turns."""


def _flat(lam: float) -> Estimator:
    return lambda batch: estimate_gae(batch, GaeConfig(lam=lam, whiten=False))


def _hae(mode: HaeMode, lam_low: float, lam_seg: float) -> Estimator:
    config = HaeConfig(mode=mode, lam_low=lam_low, lam_seg=lam_seg, whiten=False)
    return lambda batch: estimate_hae(batch, config)


CRITIC: Mapping[str, Estimator] = {
    "flat 1": _flat(1.0),
    "flat .95": _flat(0.95),
    "flat 0": _flat(0.0),
    "third (1,1)": _hae(HaeMode.DEFAULT, 1.0, 1.0),
    "third (1,.95)": _hae(HaeMode.DEFAULT, 1.0, 0.95),
    "third (.95,.95)": _hae(HaeMode.DEFAULT, 0.95, 0.95),
    "third (0,0)": _hae(HaeMode.DEFAULT, 0.0, 0.0),
    "gain (1,1)": _hae(HaeMode.PAPER, 1.0, 1.0),
    "gain (1,.95)": _hae(HaeMode.PAPER, 1.0, 0.95),
    "gain (.95,.95)": _hae(HaeMode.PAPER, 0.95, 0.95),
    "gain (0,0)": _hae(HaeMode.PAPER, 0.0, 0.0),
}
"""Estimators with a critic: flat GAE by lambda; HAE by switch form, third head or gain, and (lam_low, lam_seg)."""

NOISY = ("flat 1", "flat .95", "flat 0", "third (1,.95)", "gain (1,.95)")
"""Those that are measured with errors in the heads too."""

GROUPED: Mapping[str, Estimator] = {
    "rloo": lambda batch: estimate_rloo(batch, RlooConfig()),
    "grpo": lambda batch: estimate_grpo(batch, GrpoConfig()),
    "gigpo": lambda batch: estimate_gigpo(batch, GigpoConfig(gamma=1.0, norm=GroupNorm.MEAN)),
    "hae_group": lambda batch: estimate_hae_group(batch, HaeGroupConfig(whiten=False)),
    "hae_gigpo": lambda batch: estimate_hae_gigpo(batch, HaeGigpoConfig(gamma=1.0, whiten=False)),
}
"""Estimators that compare the episodes of a group; gamma is 1."""


@dataclass(frozen=True)
class StudySettings:
    """What is sampled."""

    rates: tuple[float, ...] = (0.05, 0.25, 0.6, 1.0)
    """Share of SWITCH among the decisions."""
    seeds: int = 5
    """Independent problems per rate, numbered from 0."""
    episodes: int = 64_000
    """Per problem and rate; a multiple of the group size."""
    error: float = 0.1
    """Standard deviation of the errors in the heads, as a share of the reward."""

    def __post_init__(self) -> None:
        if self.episodes < 2 * GROUP or self.episodes % GROUP:
            raise ValueError(f"{self.episodes} episodes are not a multiple of {GROUP} of at least {2 * GROUP}")


class Figures(NamedTuple):
    """One estimator on one problem."""

    variance: float
    """Trace of the covariance of the gradient, per episode: for estimators that look at single episodes, of one."""
    bias: float
    """Length of the bias, noise taken off, over the length of the true gradient."""
    bias_z: float
    """See `measure.Distance`."""
    scale: float
    """The factor of the true gradient that the mean gradient is nearest to."""
    turned: float
    """Length of what is left of the bias once the mean is divided by that factor."""
    switch_variance: float
    """The part of the variance that lies in the parameters of the switch decision."""


@dataclass(frozen=True)
class Cell:
    """What is measured together: an estimator, with exact heads or with errors in them, at a switch rate."""

    estimator: str
    rate: float
    noisy: bool = False


@dataclass(frozen=True)
class Study:
    """Everything that was found."""

    settings: StudySettings
    reductions: list[Reduction]
    cells: Mapping[Cell, list[Figures]]
    """One entry per seed."""

    def values(self, estimator: str, rate: float, figure: str, *, noisy: bool = False) -> FloatArray:
        """One number per seed."""
        return np.array([getattr(one, figure) for one in self.cells[Cell(estimator, rate, noisy)]])

    def ratio(self, estimator: str, baseline: str, rate: float) -> FloatArray:
        """Variance of one estimator over another's, per seed."""
        return self.values(estimator, rate, "variance") / self.values(baseline, rate, "variance")

    def as_json(self) -> dict[str, Any]:
        """Plain values, to four digits."""
        cells = [
            {
                **asdict(cell),
                **{name: [float(f"{getattr(one, name):.4g}") for one in found] for name in Figures._fields},
            }
            for cell, found in self.cells.items()
        ]
        return {
            "settings": asdict(self.settings),
            "reductions": [asdict(one) for one in self.reductions],
            "cells": cells,
        }

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "Study":
        """The inverse of `as_json`."""
        settings = StudySettings(**{**tree["settings"], "rates": tuple(tree["settings"]["rates"])})
        cells = {
            Cell(one["estimator"], one["rate"], one["noisy"]): [
                Figures(*numbers) for numbers in zip(*(one[name] for name in Figures._fields), strict=True)
            ]
            for one in tree["cells"]
        }
        return cls(settings, [Reduction(**one) for one in tree["reductions"]], cells)


def run_study(settings: StudySettings, progress: Callable[[str], None] = lambda _: None) -> Study:
    """Measure everything; `progress` gets a line per problem."""
    cells: dict[Cell, list[Figures]] = defaultdict(list)
    for seed in range(settings.seeds):
        base = _problem(seed)
        for rate in settings.rates:
            for cell, figures in _measure(base, rate, seed, settings):
                cells[cell].append(figures)
        progress(f"problem {seed + 1} of {settings.seeds}: {settings.episodes:,} episodes at each switch rate")
    return Study(settings, check_reductions(_problem(0), np.random.default_rng([0, 3])), cells)


def _problem(seed: int) -> Problem:
    return Problem.random(np.random.default_rng([seed, 0]))


class _Tally:
    """What is summed up about one cell."""

    def __init__(self) -> None:
        self.gradient, self.against_exact = Moments(), Moments()

    def add(self, gradient: FloatArray, exact: FloatArray) -> None:
        self.gradient.add(gradient)
        self.against_exact.add(gradient - exact)

    def figures(self, truth: FloatArray, *, noisy: bool) -> Figures:
        length, scale = float(np.linalg.norm(truth)), self.gradient.scale_of(truth)
        variances = GROUP * np.diag(self.gradient.covariance)
        bias = self.against_exact.distance_to(np.zeros_like(truth)) if noisy else self.gradient.distance_to(truth)
        return Figures(
            variance=float(variances.sum()),
            bias=bias.norm / length,
            bias_z=bias.z,
            scale=scale,
            turned=self.gradient.distance_to(scale * truth).norm / (scale * length),
            switch_variance=float(variances[: STATES * SUBGOALS].sum()),
        )


def _measure(base: Problem, rate: float, seed: int, settings: StudySettings) -> Iterator[tuple[Cell, Figures]]:
    problem = at_switch_rate(base, rate)
    solution = Solution.of(problem)
    wrong = solution.heads.with_errors(np.random.default_rng([seed, 2]), settings.error * REWARD)
    rng = np.random.default_rng([seed, 1, round(rate * 1000)])
    tallies: dict[Cell, _Tally] = defaultdict(_Tally)
    for begin in range(0, settings.episodes, _CHUNK):
        episodes = Episodes.sample(problem, min(_CHUNK, settings.episodes - begin), rng)
        _count(episodes, rate, solution.heads, wrong, tallies)
    for cell, tally in tallies.items():
        yield cell, tally.figures(solution.gradient.flat(), noisy=cell.noisy)


def _count(episodes: Episodes, rate: float, exact: Heads, wrong: Heads, tallies: dict[Cell, _Tally]) -> None:
    """Put one chunk of episodes through every estimator."""
    right, off, scores = episodes.batch(exact), episodes.batch(wrong), episodes.scores()
    for name, estimate in {**CRITIC, **GROUPED}.items():
        gradient = scores.gradients(estimate(right))
        tallies[Cell(name, rate)].add(gradient, gradient)
        if name in NOISY:
            tallies[Cell(name, rate, noisy=True)].add(scores.gradients(estimate(off)), gradient)
