"""The distinct turns of a batch in order, and how per-turn numbers become the answer of an estimator.

What all estimators share: order, segments, the rewards, who owns a token of which level, and whitening. Arrays are
[turns] (distinct turns, `TurnOrder`) or [trajectories] unless said otherwise; only the answer is [rows] again.
"""

from dataclasses import dataclass

import numpy as np

from hiper.advantages.batch import TurnAdvantages, TurnBatch, TurnError
from hiper.advantages.columns import BoolArray, FloatArray, IntArray, LevelArrays
from hiper.advantages.order import Segments, TurnOrder
from hiper.advantages.scan import reverse_scan
from hiper.advantages.whitening import whiten
from hiper.errors import DataError
from hiper.vocabulary import Level

__all__ = ["Turns"]


@dataclass(frozen=True, eq=False)
class Turns:
    """A batch in order."""

    batch: TurnBatch
    order: TurnOrder
    segments: Segments
    reward: FloatArray
    """Reward after shaping, checked to be there."""

    @classmethod
    def of(cls, batch: TurnBatch) -> "Turns":
        """Order `batch`. Raises `TurnError` for a turn without a reward."""
        order = TurnOrder.of(batch.trajectory, batch.turn)
        reward = batch.reward[order.rows]
        batch.require_finite("reward", reward, order.rows, None, "score every turn")
        return cls(batch, order, Segments.of(order, batch.switch[order.rows]), reward)

    @property
    def trajectory(self) -> IntArray:
        """Number of the trajectory each turn belongs to, from 0."""
        return np.cumsum(self.order.first) - 1

    @property
    def segment(self) -> IntArray:
        """Number of the segment each turn belongs to, counted over the batch from 0."""
        return np.cumsum(self.segments.starts) - 1

    def episode_returns(self) -> FloatArray:
        """Sum of a trajectory's rewards, undiscounted, [trajectories]; a truncated episode counts as it stands."""
        return np.bincount(self.trajectory, self.reward).astype(np.float64)

    def returns_to_go(self, gamma: float) -> FloatArray:
        """Discounted reward from each turn to the end of its trajectory; nothing follows a truncated one."""
        return reverse_scan(self.reward, gamma * ~self.order.last)

    def groups(self, needed_by: str) -> IntArray:
        """The task group of each trajectory, [trajectories].

        Raises `DataError` if the batch has no groups, `TurnError` for a turn in another group than its trajectory.
        """
        if self.batch.group is None:
            raise DataError(f"{needed_by} needs the column `group`", "say which trajectories play the same task")
        per_turn = self.batch.group[self.order.rows]
        groups: IntArray = per_turn[self.order.first]
        strayed = np.flatnonzero(per_turn != groups[self.trajectory])
        if len(strayed):
            row = int(self.order.rows[strayed[0]])
            raise TurnError("the group is not that of the trajectory's first turn", "mend the column", row, self.batch)
        return groups

    def anchors(self, needed_by: str) -> IntArray:
        """What observation each turn was played on; one that is not known is shared with no other turn.

        Raises `DataError` if the batch has no anchors.
        """
        if self.batch.anchor is None:
            raise DataError(f"{needed_by} needs the column `anchor`", "number the observations turns were played on")
        anchors = self.batch.anchor[self.order.rows]
        return np.where(anchors < 0, -1 - np.arange(len(anchors)), anchors)

    def owned(self) -> dict[Level, BoolArray]:
        """Turns that own a token of each level."""
        batch, rows = self.batch, self.order.rows
        return {
            Level.LOW: batch.has_action_tokens[rows],
            Level.HIGH: batch.has_subgoal_tokens[rows] & self.segments.starts,
            Level.SWITCH: batch.has_switch_tokens[rows],
        }

    def one_for_all_levels(
        self, advantage: FloatArray, *, whitened: bool, returns: LevelArrays | None = None
    ) -> TurnAdvantages:
        """The answer of an estimator with one advantage per turn: every token in the loss carries it.

        Whitening is over the turns that own a token, once: a turn has one advantage. `returns` are critic targets; a
        level without has a head that is not trained, or there is no critic at all.
        """
        owned = self.owned()
        carried = whiten(advantage, np.logical_or.reduce(list(owned.values()))) if whitened else advantage
        raw = {level: self._rows_where(own, advantage) for level, own in owned.items()}
        advantages = {level: self._rows_where(own, carried) for level, own in owned.items()} if whitened else raw
        return self._answer(raw, advantages, returns or {})

    def per_level(self, values: LevelArrays, *, whitened: bool, returns: LevelArrays | None = None) -> TurnAdvantages:
        """The answer of an estimator with an advantage per level. `returns` as in `one_for_all_levels`."""
        owned = self.owned()
        raw = {level: self._rows_where(own, values[level]) for level, own in owned.items()}
        advantages = raw
        if whitened:
            advantages = {level: self.order.to_rows(whiten(values[level], own)) for level, own in owned.items()}
        return self._answer(raw, advantages, returns or {})

    def _rows_where(self, owned: BoolArray, values: FloatArray) -> FloatArray:
        """`values` in their rows, [rows]; NaN for turns that own no token to carry them."""
        return self.order.to_rows(np.where(owned, values, np.nan))

    def _answer(self, raw: LevelArrays, advantages: LevelArrays, returns: LevelArrays) -> TurnAdvantages:
        """Add what is the same for all; `raw` and `advantages` are [rows]."""
        return TurnAdvantages(
            advantages=advantages,
            raw=raw,
            returns={
                level: self.order.to_rows(returns[level]) if level in returns else np.full(self.order.size, np.nan)
                for level in Level
            },
            boundary=self.segments.boundary_rows(self.order),
            segment=self.segments.segment_rows(self.order),
        )
