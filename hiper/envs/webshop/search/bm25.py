"""BM25 as Lucene computes it (spec 2.6): float32 after every operation, lengths of documents in one byte.

For a term t of a query and a document d that holds it `tf` times:

    idf        = float32(ln(1 + (N - df + 0.5) / (df + 0.5)))
    w          = float32(occurrences of t in the query) * idf
    saturation = 1 + tf * (1 / (k1 * ((1 - b) + (b * length) / average)))
    score      = float32(sum over t, in float64, of (w - w / saturation))

where `length` is the quantised number of terms of d and `average` is the mean of the true ones.
"""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["K1", "B", "idf", "quantise_lengths", "saturations"]

K1 = np.float32(0.9)
B = np.float32(0.4)
_EXACT = 24
"""Lengths up to here and 4 bits more are kept exactly; longer ones lose all but their 4 leading bits above it."""


def quantise_lengths(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lengths as Lucene's one-byte norm gives them back: never more than the true ones."""
    above = np.maximum(lengths - _EXACT, 0)
    dropped = np.maximum(np.frexp(above.astype(np.float64))[1] - 4, 0)
    return np.where(lengths < _EXACT, lengths, _EXACT + (above >> dropped << dropped))


def idf(documents: int, frequency: int) -> np.float32:
    """Weight of a term that `frequency` of `documents` hold."""
    return np.float32(math.log(1 + (documents - frequency + 0.5) / (frequency + 0.5)))


def saturations(counts: NDArray[np.uint32], lengths: NDArray[np.int64], average: np.float32) -> NDArray[np.float32]:
    """Of postings: `counts` occurrences of a term in documents of `lengths` (quantised) terms."""
    one = np.float32(1)
    inverse = one / (K1 * ((one - B) + (B * lengths.astype(np.float32)) / average))
    return one + counts.astype(np.float32) * inverse
