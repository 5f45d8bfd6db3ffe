"""Whitening: normalise one level over the turns of a batch that own a token of it (method.md, section 8.3)."""

import numpy as np

from hiper.advantages.columns import BoolArray, FloatArray

__all__ = ["EPSILON", "whiten"]

EPSILON = 1e-8
"""Added to the standard deviation: a single turn, or equal turns, give 0."""


def whiten(values: FloatArray, owned: BoolArray) -> FloatArray:
    """Return (values - mean) / (population standard deviation + 1e-8) over the turns in `owned`, NaN elsewhere.

    One scalar per turn, not weighted by its tokens; statistics of the whole batch, never of one task.
    """
    whitened = np.full(len(values), np.nan)
    chosen = values[owned]
    if len(chosen):
        centred = chosen - chosen.mean()
        deviation = np.sqrt(centred @ centred / len(centred))
        whitened[owned] = centred / (deviation + EPSILON)
    return whitened
