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
from hiper.advantages.order import Segments, TurnOrder
from hiper.advantages.scan import reverse_scan, shift
from hiper.advantages.whitening import whiten
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
    order = TurnOrder.of(batch.trajectory, batch.turn)
    rows = order.rows
    reward, live = batch.reward[rows], ~batch.terminated[rows]
    heads = {Level.LOW: batch.v_low, Level.HIGH: batch.v_high, Level.SWITCH: batch.v_switch}
    value = heads[config.head][rows]
    why = f"flat GAE on head '{config.head}' needs it on every turn"
    batch.require_finite("reward", reward, rows, None, why)
    batch.require_finite(f"v_{config.head}", value, rows, None, why)

    following = np.where(order.last, batch.bootstrap_values(rows), shift(value))
    delta = reward + config.gamma * live * following - value
    advantage = reverse_scan(delta, config.gamma * config.lam * (live & ~order.last))

    segments = Segments.of(order, batch.switch[rows])
    owned = {
        Level.LOW: batch.has_action_tokens[rows],
        Level.HIGH: batch.has_subgoal_tokens[rows] & segments.starts,
        Level.SWITCH: batch.has_switch_tokens[rows],
    }
    in_loss = np.logical_or.reduce(list(owned.values()))
    whitened = whiten(advantage, in_loss) if config.whiten else advantage
    untrained = np.full(len(batch), np.nan)
    return TurnAdvantages(
        advantages={level: order.to_rows(np.where(own, whitened, np.nan)) for level, own in owned.items()},
        raw={level: order.to_rows(np.where(own, advantage, np.nan)) for level, own in owned.items()},
        returns={
            level: order.to_rows(advantage + value) if level is config.head else untrained.copy() for level in Level
        },
        boundary=segments.boundary_rows(order),
        segment=segments.segment_rows(order),
    )
