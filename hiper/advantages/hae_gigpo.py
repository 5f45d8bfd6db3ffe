"""HAE above, GiGPO below: hierarchical credit for sub-goals and switches, anchor groups for the actions in between.

GiGPO adds to the advantage of an episode what a turn did against the turns of other episodes at the same observation.
Here a segment takes the place of the episode:

    A_low(t) = A_high(k) + w (G_t - mean of G over the turns of the task group at the same observation), t in segment k

High and switch level are those of HAE, and G_t is the discounted reward to the end of the segment plus V_high of what
follows (method.md, section 5): the low head is not used and not trained. With `critic_free` there are no heads at all:
both upper levels are those of `hae_group`, and G_t is the discounted reward to the end of the trajectory.

A turn whose observation nobody shares has the advantage of its segment. The step part is not divided by a standard
deviation: it is added to an advantage in units of reward, and whitening scales the sum.

Reductions, exact (without whitening): with w = 0 every turn of a segment carries A_high. With one segment in each
trajectory and `critic_free`, the step part is GiGPO's with norm `mean`, and at gamma = 1 the segment part is RLOO's.
"""

from dataclasses import dataclass, replace

import numpy as np

from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.checks import require_not_negative, require_share
from hiper.advantages.columns import FloatArray, LevelArrays
from hiper.advantages.gigpo import relative_to_anchor
from hiper.advantages.groups import GroupNorm
from hiper.advantages.hae import HaeConfig, estimate_hae
from hiper.advantages.hae_group import group_levels
from hiper.advantages.turns import Turns
from hiper.vocabulary import Level

__all__ = ["HaeGigpoConfig", "estimate_hae_gigpo"]


@dataclass(frozen=True)
class HaeGigpoConfig:
    """Parameters of HAE with anchor groups."""

    gamma: float = 0.95
    """Discount per turn, of all levels."""
    lam_seg: float = 0.95
    """Lambda per segment; without a critic there is nothing to bootstrap with, and it has no meaning."""
    step_weight: float = 1.0
    """Factor w of the comparison at the same observation."""
    critic_free: bool = False
    """Take the upper levels from group comparison instead of V_high and V_switch."""
    whiten: bool = True
    """Normalise each level over the turns that own a token of it."""

    def __post_init__(self) -> None:
        for name in ("gamma", "lam_seg"):
            require_share(f"hae_gigpo {name}", getattr(self, name))
        require_not_negative("hae_gigpo step_weight", self.step_weight)


@dataclass(frozen=True, eq=False)
class _Upper:
    """What the levels above leave to the low one, [turns]."""

    levels: LevelArrays
    """High and switch advantages; high on boundary turns."""
    gain: FloatArray
    """G_t."""
    targets: LevelArrays
    """Of the heads that are trained."""


def estimate_hae_gigpo(batch: TurnBatch, config: HaeGigpoConfig) -> TurnAdvantages:
    """Compute three advantages per turn; it needs `batch.group` and `batch.anchor`.

    Raises:
        DataError: a reward or, with a critic, a value is missing (names the row); the batch has no groups or anchors.
    """
    turns = Turns.of(batch)
    upper = _without_critic(turns, config) if config.critic_free else _with_critic(turns, config)
    of_segment = upper.levels[Level.HIGH][turns.segments.start_at][turns.segment]
    step = relative_to_anchor(turns, upper.gain, GroupNorm.MEAN, "hae_gigpo")
    values = {**upper.levels, Level.LOW: of_segment + config.step_weight * step}
    return turns.per_level(values, whitened=config.whiten, returns=upper.targets)


def _without_critic(turns: Turns, config: HaeGigpoConfig) -> _Upper:
    to_go = turns.returns_to_go(config.gamma)
    return _Upper(group_levels(turns, to_go, "hae_gigpo"), to_go, {})


def _with_critic(turns: Turns, config: HaeGigpoConfig) -> _Upper:
    batch, rows = turns.batch, turns.order.rows
    # The low level of this call is thrown away, so the low head need not exist.
    above = estimate_hae(
        replace(batch, v_low=np.zeros(len(batch))),
        HaeConfig(gamma=config.gamma, lam_seg=config.lam_seg, whiten=False),
    )
    targets = {level: above.returns[level][rows] for level in (Level.HIGH, Level.SWITCH)}
    # Targets minus values, because a turn has an advantage here even if it owns no token to carry it.
    levels = {
        Level.HIGH: targets[Level.HIGH] - batch.v_high[rows],
        Level.SWITCH: targets[Level.SWITCH] - batch.v_switch[rows],
    }
    return _Upper(levels, targets[Level.SWITCH], targets)
