"""Tables with one row per turn: equally long numpy columns of fixed types.

A table is built from anything `numpy.asarray` takes. It refuses unequal lengths, so that no later operation can
silently broadcast one column against another.
"""

from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hiper.vocabulary import Level

__all__ = ["BOOL", "FLOAT", "INT", "SPAN", "BoolArray", "Columns", "FloatArray", "IntArray", "LevelArrays"]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
LevelArrays: TypeAlias = dict[Level, FloatArray]
"""One number per turn and level; NaN = the turn has none at that level."""

FLOAT: dict[str, Any] = {"dtype": np.float64, "shape": ()}
INT: dict[str, Any] = {"dtype": np.int64, "shape": ()}
BOOL: dict[str, Any] = {"dtype": np.bool_, "shape": ()}
SPAN: dict[str, Any] = {"dtype": np.int64, "shape": (2,)}
"""Field metadata: type and shape of one row of the column."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Base of the tables. Subclasses declare columns as `field(metadata=FLOAT)`; a column that is None is absent."""

    def __post_init__(self) -> None:
        rows: int | None = None
        for column in fields(self):
            values = getattr(self, column.name)
            if values is None:
                continue
            array = np.asarray(values, dtype=column.metadata["dtype"])
            if array.size == 0:
                array = array.reshape(0, *column.metadata["shape"])
            rows = len(array) if rows is None else rows
            if array.shape != (rows, *column.metadata["shape"]):
                raise ValueError(f"{type(self).__name__}.{column.name}: shape {array.shape} for {rows} turns")
            object.__setattr__(self, column.name, array)

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))
