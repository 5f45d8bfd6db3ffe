"""`hiper bench advantages`: from the numbers of a batch's turns to whitened advantages, targets and masks per token.

One core. The turns come in random order, as the reference's do. The reference needed 6.4 s and 1.1 s for what the first
two figures measure, on another machine of two cores (spec/method.md, 18); it is not run here.
"""

import time
import tracemalloc
from collections.abc import Callable, Sequence

import numpy as np

from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.gae import GaeConfig, estimate_gae
from hiper.advantages.gigpo import GigpoConfig, estimate_gigpo
from hiper.advantages.grpo import GrpoConfig, estimate_grpo
from hiper.advantages.hae import HaeConfig, estimate_hae
from hiper.advantages.hae_gigpo import HaeGigpoConfig, estimate_hae_gigpo
from hiper.advantages.hae_group import HaeGroupConfig, estimate_hae_group
from hiper.advantages.reinforce_pp import ReinforcePpConfig, estimate_reinforce_pp
from hiper.advantages.rloo import RlooConfig, estimate_rloo
from hiper.advantages.tokens import TokenTargets, TurnSpans, level_tokens, token_targets
from hiper.bench.timing import BenchOptions, Figure, Report, Say, Target

__all__ = ["run"]

_TRAJECTORIES, _TURNS, _WIDTH = 128, 50, 512
_GROUP = 8
_SWITCH_RATE = 0.45
_VALID_TOKENS = (40, 512)
_LENGTHS = (6_400, 25_600, 100_000)
"""Turns of a batch, for the growth of time and memory."""
_CALLS = 21

_ESTIMATORS: dict[str, Callable[[TurnBatch], TurnAdvantages]] = {
    "hae": lambda batch: estimate_hae(batch, HaeConfig()),
    "gae": lambda batch: estimate_gae(batch, GaeConfig()),
    "grpo": lambda batch: estimate_grpo(batch, GrpoConfig()),
    "rloo": lambda batch: estimate_rloo(batch, RlooConfig()),
    "reinforce++": lambda batch: estimate_reinforce_pp(batch, ReinforcePpConfig()),
    "gigpo": lambda batch: estimate_gigpo(batch, GigpoConfig()),
    "hae_gigpo": lambda batch: estimate_hae_gigpo(batch, HaeGigpoConfig()),
    "hae_group": lambda batch: estimate_hae_group(batch, HaeGroupConfig()),
}


def run(options: BenchOptions, say: Say) -> Report:
    """Measure. `options.scale` shrinks the number of trajectories."""
    generator = np.random.default_rng(options.seed)
    trajectories = options.times(_TRAJECTORIES, least=2)
    calls = options.repeats * _CALLS
    batch = make_batch(generator, trajectories, _TURNS)
    report = Report("advantages", {"source": "random", "seed": options.seed}, calls)
    report.sizes = {"trajectories": trajectories, "turns": _TURNS, "width": _WIDTH, "valid_tokens": _VALID_TOKENS}
    hae = _ESTIMATORS["hae"]
    for valid in _VALID_TOKENS:
        say(f"whole call, {valid} tokens a response")
        spans = make_spans(generator, len(batch), valid)
        # The first call grows the heap; later ones find it grown, as in a service that goes on.
        seconds = _time(lambda spans=spans: _whole(batch, spans), calls)  # type: ignore[misc]
        target = Target(10.0, at_most=True)
        report.figures.append(Figure(f"whole call, {valid} tokens", "ms", _scaled(seconds, 1e3), "repeats", target))
    for name, estimate in _ESTIMATORS.items():
        say(f"per turn: {name}")
        seconds = _time(lambda estimate=estimate: estimate(batch), calls)  # type: ignore[misc]
        only = Target(1.0, at_most=True) if name == "hae" else None
        report.figures.append(Figure(f"per-turn part, {name}", "ms", _scaled(seconds, 1e3), "repeats", only))
    for turns in _LENGTHS:
        say(f"growth: {turns:,} turns")
        large = make_batch(generator, options.times(turns // _TURNS, least=2), _TURNS)
        seconds = _time(lambda large=large: hae(large), options.repeats)  # type: ignore[misc]
        report.figures.append(
            Figure(f"hae, {turns:,} turns", "ns a turn", _scaled(seconds, 1e9 / len(large)), "repeats")
        )
        peak = _peak_bytes(lambda large=large: hae(large)) / len(large)  # type: ignore[misc]
        report.figures.append(Figure(f"hae, {turns:,} turns, memory", "bytes a turn", [peak], "repeats"))
    return report


def make_batch(generator: np.random.Generator, trajectories: int, turns: int) -> TurnBatch:
    """A batch of trajectories of `turns` turns each, in random order, half of them truncated."""
    rows = trajectories * turns
    order = generator.permutation(rows)
    trajectory, turn = np.repeat(np.arange(trajectories), turns)[order], np.tile(np.arange(turns), trajectories)[order]
    last = turn == turns - 1
    yes = np.ones(rows, dtype=np.bool_)
    return TurnBatch(
        trajectory=trajectory,
        turn=turn,
        switch=generator.random(rows) < _SWITCH_RATE,
        reward=np.where(last, generator.random(rows) < 0.5, 0.0) * 10.0,
        terminated=last & (trajectory % 2 == 0),
        truncated=last & (trajectory % 2 == 1),
        v_low=generator.normal(size=rows),
        v_high=generator.normal(size=rows),
        v_switch=generator.normal(size=rows),
        has_action_tokens=yes,
        has_subgoal_tokens=yes,
        has_switch_tokens=yes,
        truncation_value=np.where(last, generator.normal(size=rows), np.nan),
        group=trajectory // _GROUP,
        anchor=generator.integers(0, 20, rows),
    )


def make_spans(generator: np.random.Generator, rows: int, valid: int) -> TurnSpans:
    """Spans of responses of `valid` tokens: switch, sub-goal, action, and text around them."""
    cuts = np.sort(generator.integers(1, valid, (rows, 4)), axis=1)
    nothing = np.zeros(rows, dtype=np.int64)
    return TurnSpans(
        length=np.full(rows, valid),
        switch=np.stack([nothing, cuts[:, 0]], axis=1),
        subgoal=np.stack([cuts[:, 0], cuts[:, 1]], axis=1),
        action=np.stack([cuts[:, 2], cuts[:, 3]], axis=1),
    )


def _whole(batch: TurnBatch, spans: TurnSpans) -> TokenTargets:
    tokens = level_tokens(spans, width=_WIDTH)
    turns = _ESTIMATORS["hae"](batch)
    return token_targets(tokens, turns.advantages, turns.boundary)


def _time(call: Callable[[], object], times: int) -> list[float]:
    call()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return seconds


def _peak_bytes(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _scaled(seconds: Sequence[float], factor: float) -> list[float]:
    return [value * factor for value in seconds]
