"""Flat generalised advantage estimation over turns: the baseline without a hierarchy.

One advantage per turn, carried by every token of the response that is in the loss: the action, the switch decision
and a sub-goal written on a boundary turn. It is measured against ONE head. The switch head is read before the response,
so its value depends on nothing the turn samples, which is what a baseline for all of its tokens needs; it is the
default. The other heads are not trained.
"""

from dataclasses import dataclass

import numpy as np

from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.checks import member, require_share
from hiper.advantages.scan import reverse_scan, shift
from hiper.advantages.turns import Turns
from hiper.vocabulary import Level

__all__ = ["GaeConfig", "estimate_gae"]


@dataclass(frozen=True)
class GaeConfig:
    """Parameters of flat GAE."""

    gamma: float = 1.0
    """Discount per turn."""
    lam: float = 0.95
    """Lambda per turn."""
    whiten: bool = True
    """Normalise over the turns that own a token, once for all levels: a turn has one advantage."""
    head: Level = Level.SWITCH
    """Head the advantage is measured against, on every turn."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "head", member("gae head", Level, self.head))
        for name in ("gamma", "lam"):
            require_share(f"gae {name}", getattr(self, name))


def estimate_gae(batch: TurnBatch, config: GaeConfig) -> TurnAdvantages:
    """Compute one advantage per turn; truncation bootstraps with the value of the next observation.

    Raises:
        DataError: a reward or value is not finite; names the row.
    """
    turns = Turns.of(batch)
    order, live = turns.order, ~batch.terminated[turns.order.rows]
    heads = {Level.LOW: batch.v_low, Level.HIGH: batch.v_high, Level.SWITCH: batch.v_switch}
    value = heads[config.head][order.rows]
    why = f"flat GAE on head '{config.head}' needs it on every turn"
    batch.require_finite(f"v_{config.head}", value, order.rows, None, why)

    following = np.where(order.last, batch.bootstrap_values(order.rows), shift(value))
    delta = turns.reward + config.gamma * live * following - value
    advantage = reverse_scan(delta, config.gamma * config.lam * (live & ~order.last))
    return turns.one_for_all_levels(advantage, whitened=config.whiten, returns={config.head: advantage + value})
