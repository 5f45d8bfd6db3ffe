"""What goes into an estimator, and what comes out: tables with one row per turn.

Rows may come in any order and with gaps in the turn index. Copies of a (trajectory, turn) pair are ignored: they get
NaN everywhere. Values are per turn; `hiper.advantages.tokens` spreads them over tokens. An infinite number is refused
in every column, needed or not; NaN stands for a number that does not exist, and is refused where an estimator needs it.
"""

from dataclasses import dataclass, field, fields

import numpy as np

from hiper.advantages.columns import BOOL, FLOAT, INT, BoolArray, Columns, FloatArray, IntArray, LevelArrays
from hiper.errors import DataError

__all__ = ["TurnAdvantages", "TurnBatch", "TurnError"]


class TurnError(DataError):
    """One turn of a table is unusable. A table knows trajectories by number; who made it can give them their names."""

    def __init__(self, fault: str, hint: str, row: int, batch: "TurnBatch") -> None:
        self.fault = fault
        """What is wrong, e.g. `v_low is missing`."""
        self.row = row
        super().__init__(f"{fault} at row {row} (trajectory {batch.trajectory[row]}, turn {batch.turn[row]})", hint)

    def of(self, trajectory: int | str, turn: int) -> DataError:
        """The same failure in the caller's own terms."""
        return DataError(f"trajectory {trajectory}, turn {turn}: {self.fault}", self.hint)


@dataclass(frozen=True, eq=False)
class TurnBatch(Columns):
    """Turns of a batch, [rows] each."""

    trajectory: IntArray = field(metadata=INT)
    """Which trajectory the turn belongs to; any integers."""
    turn: IntArray = field(metadata=INT)
    """Position in the trajectory; only the order counts."""
    switch: BoolArray = field(metadata=BOOL)
    """The parsed decision is SWITCH."""
    reward: FloatArray = field(metadata=FLOAT)
    """Reward after shaping."""
    terminated: BoolArray = field(metadata=BOOL)
    """The task ended the episode at this turn."""
    truncated: BoolArray = field(metadata=BOOL)
    """A limit ended the episode at this turn; read on the last turn of a trajectory only."""
    v_low: FloatArray = field(metadata=FLOAT)
    """Low head after the sub-goal block."""
    v_high: FloatArray = field(metadata=FLOAT)
    """High head before the response; may be NaN off boundary turns, except in paper mode."""
    v_switch: FloatArray = field(metadata=FLOAT)
    """Switch head before the response; may be NaN where there is no such head."""
    has_action_tokens: BoolArray = field(metadata=BOOL)
    """The turn owns a token of the low level."""
    has_subgoal_tokens: BoolArray = field(metadata=BOOL)
    """The response holds a sub-goal block."""
    has_switch_tokens: BoolArray = field(metadata=BOOL)
    """The response holds a switch block."""
    truncation_value: FloatArray | None = field(default=None, metadata=FLOAT)
    """Value of the observation a truncated episode would have shown next, on its last turn. NaN = not known: the
    episode then bootstraps with 0, as if it had ended."""
    previous_v_low: FloatArray | None = field(default=None, metadata=FLOAT)
    """Paper mode: V_low(s_t, o_{t-1}), the low head after the *previous* sub-goal; NaN on KEEP turns = `v_low`."""
    switch_probability: FloatArray | None = field(default=None, metadata=FLOAT)
    """Paper mode: probability of SWITCH under the behaviour policy, normalised over the two decisions."""
    group: IntArray | None = field(default=None, metadata=INT)
    """Task group of the trajectory: trajectories that play the same task share it; any integers."""
    anchor: IntArray | None = field(default=None, metadata=INT)
    """Which observation the turn was played on: equal ones share it; any integers >= 0, negative = not known."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for column in fields(self):
            values = getattr(self, column.name)
            if values is None or column.metadata["dtype"] is not np.float64:
                continue
            infinite = np.flatnonzero(np.isinf(values))
            if len(infinite):
                raise TurnError(f"{column.name} is infinite", "find out who wrote it", int(infinite[0]), self)

    def bootstrap_values(self, rows: IntArray) -> FloatArray:
        """What follows the last turns `rows`: the truncation value, or 0 if the episode ended or it is not known."""
        if self.truncation_value is None:
            return np.zeros(len(rows))
        known = self.truncated[rows] & np.isfinite(self.truncation_value[rows])
        return np.where(known, self.truncation_value[rows], 0.0)

    def require_finite(self, name: str, values: FloatArray, rows: IntArray, where: BoolArray | None, why: str) -> None:
        """Raise a `TurnError` naming the first of `rows` whose value is missing though `where` says it counts."""
        missing = np.isnan(values) if where is None else np.isnan(values) & where
        if missing.any():
            raise TurnError(f"{name} is missing", why, int(rows[np.flatnonzero(missing)[0]]), self)


@dataclass(frozen=True, eq=False)
class TurnAdvantages:
    """Advantages and critic targets of a batch, [rows] each."""

    advantages: LevelArrays
    """Whitened where the estimator was told to; NaN = the turn owns no token of that level."""
    raw: LevelArrays
    """The same before whitening."""
    returns: LevelArrays
    """Critic targets; NaN = the head is not trained at this turn."""
    boundary: BoolArray
    """First turn of a segment."""
    segment: IntArray
    """Number of the segment, counted over the batch; -1 for copies."""
