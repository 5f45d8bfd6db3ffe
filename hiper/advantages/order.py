"""The order of turns within trajectories, and their segments.

Rows arrive in any order, with gaps in the turn index, and sometimes twice: a (trajectory, turn) pair counts once, its
first occurrence wins (method.md, sections 9 and 17.1). Everything downstream works on *distinct turns*: trajectories
one after another, turns ascending.
"""

from dataclasses import dataclass

import numpy as np

from hiper.advantages.columns import BoolArray, FloatArray, IntArray

__all__ = ["Segments", "TurnOrder"]


@dataclass(frozen=True, eq=False)
class TurnOrder:
    """The distinct turns of a batch of `size` rows. Arrays have one element per distinct turn, [turns]."""

    size: int
    """Rows of the batch, copies included."""
    rows: IntArray
    """Row of each distinct turn."""
    first: BoolArray
    """First turn of its trajectory."""
    last: BoolArray
    """Last turn of its trajectory."""

    @classmethod
    def of(cls, trajectory: IntArray, turn: IntArray) -> "TurnOrder":
        """Order rows by trajectory and turn; both arrays are [rows]."""
        order = _sorted_rows(trajectory, turn)
        same_trajectory = trajectory[order][1:] == trajectory[order][:-1]
        copy = np.append(False, same_trajectory & (turn[order][1:] == turn[order][:-1]))[: len(order)]
        rows = order[~copy]
        changes = trajectory[rows][1:] != trajectory[rows][:-1]
        some = len(rows) > 0
        first = np.append(True, changes) if some else np.zeros(0, bool)
        last = np.append(changes, True) if some else np.zeros(0, bool)
        return cls(size=len(trajectory), rows=rows, first=first, last=last)

    @property
    def lengths(self) -> IntArray:
        """Turns of the trajectory each distinct turn belongs to, [turns]."""
        number = np.cumsum(self.first) - 1
        return np.bincount(number)[number] if len(number) else number

    def to_rows(self, values: FloatArray) -> FloatArray:
        """Put [turns] values where their rows were; NaN in rows that are copies."""
        scattered = np.full(self.size, np.nan)
        scattered[self.rows] = values
        return scattered


def _sorted_rows(trajectory: IntArray, turn: IntArray) -> IntArray:
    """Rows by trajectory, turn and position, so that the first of equal keys stays first, [rows].

    The three are packed into one integer where they fit: sorting plain integers is several times faster than lexsort.
    """
    rows = len(turn)
    if rows == 0:
        return np.zeros(0, dtype=np.int64)
    first_trajectory, first_turn = int(trajectory.min()), int(turn.min())
    turns = int(turn.max()) - first_turn + 1
    trajectories = int(trajectory.max()) - first_trajectory + 1
    if trajectories * turns * rows > np.iinfo(np.int64).max:
        return np.asarray(np.lexsort((turn, trajectory)), dtype=np.int64)
    keys = ((trajectory - first_trajectory) * turns + (turn - first_turn)) * rows + np.arange(rows)
    return np.asarray(np.sort(keys) % rows, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Segments:
    """Runs of turns that serve one sub-goal. Together they partition every trajectory."""

    starts: BoolArray
    """Boundary turns: the first of a trajectory and every SWITCH, [turns]."""
    ends: BoolArray
    """Last turns of segments, [turns]."""
    start_at: IntArray
    """Position of each segment's first turn, [segments]."""
    end_at: IntArray
    """Position of each segment's last turn, [segments]."""
    closing: BoolArray
    """The segment is its trajectory's last, [segments]."""

    @classmethod
    def of(cls, order: TurnOrder, switch: BoolArray) -> "Segments":
        """Cut trajectories at SWITCH turns; `switch` is [turns]. Turn 0 is a boundary whatever it says."""
        starts = order.first | switch
        ends = np.append(starts[1:], True)[: len(starts)]
        end_at = np.flatnonzero(ends)
        return cls(starts=starts, ends=ends, start_at=np.flatnonzero(starts), end_at=end_at, closing=order.last[end_at])

    @property
    def lengths(self) -> IntArray:
        """Turns of each segment, [segments]."""
        return self.end_at - self.start_at + 1

    def boundary_rows(self, order: TurnOrder) -> BoolArray:
        """Which rows are boundary turns, [rows]; false for copies."""
        rows = np.zeros(order.size, dtype=np.bool_)
        rows[order.rows] = self.starts
        return rows

    def segment_rows(self, order: TurnOrder) -> IntArray:
        """Number of the segment each row belongs to, counted over the batch, [rows]; -1 for copies."""
        rows = np.full(order.size, -1, dtype=np.int64)
        rows[order.rows] = np.cumsum(self.starts) - 1
        return rows
