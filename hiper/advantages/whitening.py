"""Whitening: normalise one level over the turns of a batch that own a token of it (method.md, section 8.3).

The statistics are those of the whole batch, the unit in which advantages stream (one entry of traj.scored): never of a
task, of a call, or of what one process has seen. So how members came together, in which order and through how many
processes, changes nothing, and no running mean is carried from batch to batch.

Degenerate cases: a single turn, or turns that are all equal, give 0 exactly; no turn that owns a token gives NaN for
all; a constant added to all changes nothing. Values that are not finite are refused before (`TurnBatch`).
"""

import numpy as np

from hiper.advantages.columns import BoolArray, FloatArray

__all__ = ["EPSILON", "whiten"]

EPSILON = 1e-8
"""Added to the standard deviation, as in the reference."""


def whiten(values: FloatArray, owned: BoolArray) -> FloatArray:
    """Return (values - mean) / (population standard deviation + 1e-8) over the turns in `owned`, NaN elsewhere.

    One scalar per turn, not weighted by its tokens. Both arrays and the result are [turns].
    """
    whitened = np.full(len(values), np.nan)
    chosen = values[owned]
    if len(chosen):
        # Centred twice: the mean of large, equal values is off by a rounding error, which the division would blow up.
        centred = chosen - chosen[0]
        centred = centred - centred.mean()
        deviation = np.sqrt(centred @ centred / len(centred))
        whitened[owned] = centred / (deviation + EPSILON)
    return whitened
