"""The recursion every estimator is made of, for all turns of a batch at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiper.advantages.columns import FloatArray

__all__ = ["reverse_scan", "shift"]


def reverse_scan(gain: FloatArray, decay: NDArray[np.floating[Any]]) -> FloatArray:
    """Solve x[t] = gain[t] + decay[t] * x[t+1] from the last element back, with x[n] = 0.

    A decay of 0 cuts the recursion, so trajectories and segments simply stand one after another. Works by doubling
    (Hillis-Steele): after round i, x[t] holds the terms of 2^i turns, so it takes log2(longest run) rounds of vector
    operations. Only products of decays <= 1 are formed, never quotients: an underflow is the right answer, 0.

    Args:
        gain: finite, [n].
        decay: in [0, 1], [n].
    """
    total, reach = np.array(gain, dtype=np.float64), np.array(decay, dtype=np.float64)
    step = 1
    while step < len(total) and reach.any():
        total[:-step] += reach[:-step] * total[step:]
        reach[:-step] *= reach[step:]
        reach[-step:] = 0.0
        step *= 2
    return total


def shift(values: FloatArray) -> FloatArray:
    """The element after each one; 0 after the last."""
    return np.append(values[1:], 0.0)
