"""Hierarchical Advantage Estimation (method.md, sections 3-5, 9 and 18).

Three advantages per turn: action tokens (low), sub-goal tokens of boundary turns (high), switch tokens (switch). The
low level bootstraps with V_high at the next boundary and never looks across it; the high level is semi-Markov GAE over
segments; the switch level is the return to the end of the segment against V_switch, or the gain form in paper mode.

Linear-time vector operations over all turns of a batch; no loop over turns or trajectories. Two facts keep it short:
the switch return at a segment's first turn is the segment's reward plus its discounted bootstrap, so one recursion
serves both upper levels; and each level is one `reverse_scan`.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.checks import member, require_share
from hiper.advantages.columns import BoolArray, FloatArray
from hiper.advantages.scan import reverse_scan, shift
from hiper.advantages.turns import Turns
from hiper.vocabulary import Level

__all__ = ["CriticHeads", "HaeConfig", "HaeMode", "estimate_hae"]


class HaeMode(StrEnum):
    """Which of the published forms is computed (method.md, section 18)."""

    DEFAULT = "default"
    """Truncation bootstraps with the value of the next observation."""
    COMPAT = "compat"
    """The released code's numbers: stale truncation values, if any."""
    PAPER = "paper"
    """Gain-form switch advantage and one-step targets; two heads."""


class CriticHeads(StrEnum):
    """Value heads the critic has."""

    THREE = "low+high+switch"
    """As released."""
    TWO = "low+high"
    """No switch head: switch tokens get no advantage and leave the loss."""
    ONE = "single"
    """V_high is V_low, read at the low position; no switch level in any mode."""


@dataclass(frozen=True)
class HaeConfig:
    """Parameters of HAE; the defaults are the released values."""

    mode: HaeMode = HaeMode.DEFAULT
    gamma: float = 1.0
    """Discount per turn."""
    lam_low: float = 1.0
    """Lambda per turn, inside a segment."""
    lam_seg: float = 0.95
    """Lambda per segment."""
    whiten: bool = True
    """Normalise each level over the turns that own a token of it. Targets are never whitened."""
    heads: CriticHeads = CriticHeads.THREE
    bootstrap_truncated: bool = False
    """Compat mode only: bootstrap episodes that did not end by themselves, with the stale values of section 9."""
    assign_high_to_subgoal: bool = True
    """Sub-goal tokens of boundary turns carry the high level."""
    assign_high_to_switch: bool = False
    """Switch tokens of boundary turns carry the high level too."""
    assign_switch: bool = True
    """Switch tokens carry the switch level."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", member("hae mode", HaeMode, self.mode))
        object.__setattr__(self, "heads", member("hae heads", CriticHeads, self.heads))
        for name in ("gamma", "lam_low", "lam_seg"):
            require_share(f"hae {name}", getattr(self, name))

    @property
    def gain_form(self) -> bool:
        """Whether the switch advantage is made of the low and the high head."""
        return self.mode is HaeMode.PAPER and self.heads is not CriticHeads.ONE

    @property
    def trains_switch_head(self) -> bool:
        """Whether the switch advantage is measured against a head of its own."""
        return self.mode is not HaeMode.PAPER and self.heads is CriticHeads.THREE


@dataclass(frozen=True, eq=False)
class _Turns(Turns):
    """The turns of a batch with what every level needs of them."""

    config: HaeConfig
    live: BoolArray
    v_low: FloatArray
    v_high: FloatArray

    @classmethod
    def read(cls, batch: TurnBatch, config: HaeConfig) -> "_Turns":
        turns = Turns.of(batch)
        rows = turns.order.rows
        v_high = batch.v_low if config.heads is CriticHeads.ONE else batch.v_high
        read = cls(
            batch=batch,
            order=turns.order,
            segments=turns.segments,
            reward=turns.reward,
            config=config,
            live=~batch.terminated[rows],
            v_low=batch.v_low[rows],
            v_high=v_high[rows],
        )
        read.require("v_low", read.v_low)
        read.require("v_high", read.v_high, read.segments.starts)
        return read

    def require(self, name: str, values: FloatArray, where: BoolArray | None = None) -> None:
        """Refuse a column that is not finite where it is needed; both arrays are [turns]."""
        needed = f"mode '{self.config.mode}' with heads '{self.config.heads}' needs it there"
        self.batch.require_finite(name, values, self.order.rows, where, needed)

    def owned(self) -> dict[Level, BoolArray]:
        """Turns that own a token of each level to carry its advantage (section 8)."""
        config, written = self.config, super().owned()
        switch = written[Level.SWITCH]
        high = written[Level.HIGH] & config.assign_high_to_subgoal
        if config.assign_high_to_switch:
            high = high | (switch & self.segments.starts)
        # The gain form compares with the previous sub-goal, which turn 0 has not.
        decided = ~self.order.first if config.gain_form else config.trains_switch_head
        return {**written, Level.HIGH: high, Level.SWITCH: switch & decided & config.assign_switch}


def estimate_hae(batch: TurnBatch, config: HaeConfig) -> TurnAdvantages:
    """Compute the advantages and critic targets of every turn.

    Raises:
        DataError: a reward or value is not finite where it is needed; names the row.
    """
    turns = _Turns.read(batch, config)
    beyond_low, beyond_high = _values_beyond_segments(turns)
    low, target_low = _low_level(turns, beyond_low)
    segment_return = _returns_to_segment_end(turns, beyond_high)
    high, target_high = _high_level(turns, segment_return)
    switch, target_switch = _switch_level(turns, segment_return)
    return turns.per_level(
        {Level.LOW: low, Level.HIGH: high, Level.SWITCH: switch},
        whitened=config.whiten,
        returns={Level.LOW: target_low, Level.HIGH: target_high, Level.SWITCH: target_switch},
    )


def _values_beyond_segments(turns: _Turns) -> tuple[FloatArray, FloatArray]:
    """What follows each segment, for the low and for the upper levels, [segments] (B_k of section 4, section 9)."""
    segments = turns.segments
    next_high = shift(turns.v_high[segments.start_at])
    if turns.config.mode is HaeMode.COMPAT:
        used = float(turns.config.bootstrap_truncated)
        cut_low, cut_high = used * turns.v_low[segments.end_at], used * turns.v_high[segments.start_at]
    else:
        cut_low = cut_high = turns.batch.bootstrap_values(turns.order.rows[segments.end_at])
    return np.where(segments.closing, cut_low, next_high), np.where(segments.closing, cut_high, next_high)


def _low_level(turns: _Turns, beyond: FloatArray) -> tuple[FloatArray, FloatArray]:
    """GAE inside each segment, and its targets, [turns] (section 3)."""
    config, segments = turns.config, turns.segments
    following = shift(turns.v_low)
    following[segments.end_at] = beyond
    one_step = turns.reward + config.gamma * turns.live * following
    advantage = reverse_scan(one_step - turns.v_low, config.gamma * config.lam_low * (turns.live & ~segments.ends))
    return advantage, one_step if config.mode is HaeMode.PAPER else advantage + turns.v_low


def _returns_to_segment_end(turns: _Turns, beyond: FloatArray) -> FloatArray:
    """Discounted reward to the end of the segment plus what follows it, [turns] (R_switch of section 5).

    A done flag inside a segment is ignored; at its end it removes what follows.
    """
    gamma, segments = turns.config.gamma, turns.segments
    gain = turns.reward.copy()
    gain[segments.end_at] += gamma * turns.live[segments.end_at] * beyond
    return reverse_scan(gain, gamma * ~segments.ends)


def _high_level(turns: _Turns, segment_return: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Semi-Markov GAE over segments and its targets, [turns], NaN off boundaries (section 4)."""
    config, segments = turns.config, turns.segments
    at = segments.start_at
    goes_on = turns.live[segments.end_at] & ~segments.closing
    discount = config.gamma**segments.lengths
    advantage = reverse_scan(segment_return[at] - turns.v_high[at], discount * config.lam_seg * goes_on)
    per_turn, target = np.full((2, len(turns.reward)), np.nan)
    per_turn[at] = advantage
    target[at] = segment_return[at] if config.mode is HaeMode.PAPER else advantage + turns.v_high[at]
    return per_turn, target


def _switch_level(turns: _Turns, segment_return: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Advantages of the switch decision and the head's targets, [turns]; NaN where there are none (section 5)."""
    nothing = np.full(len(turns.reward), np.nan)
    if turns.config.gain_form and turns.config.assign_switch:
        return _gain_form(turns), nothing
    if not turns.config.trains_switch_head:
        return nothing, nothing
    v_switch = turns.batch.v_switch[turns.order.rows]
    turns.require("v_switch", v_switch)
    return segment_return - v_switch, segment_return


def _gain_form(turns: _Turns) -> FloatArray:
    """(q - beta) * (V_high(s_t) - V_low(s_t, o_{t-1})), [turns]; turn 0 has no previous sub-goal, so no advantage."""
    batch, rows, later = turns.batch, turns.order.rows, ~turns.order.first
    absent = np.full(len(batch), np.nan)
    switch = batch.switch[rows]
    beta = (absent if batch.switch_probability is None else batch.switch_probability)[rows]
    previous = (absent if batch.previous_v_low is None else batch.previous_v_low)[rows]
    previous = np.where(np.isnan(previous) & ~switch, turns.v_low, previous)
    for name, values in (("switch_probability", beta), ("previous_v_low", previous), ("v_high", turns.v_high)):
        turns.require(name, values, later)
    return np.where(later, (switch - beta) * (turns.v_high - previous), np.nan)
