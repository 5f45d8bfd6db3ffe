"""Which rows share a forward pass: as many as fit into a number of tokens, padding included."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["micro_batches", "minibatches"]


def minibatches(rows: int, size: int, seed: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Split a random order of `rows` into nearly equal parts of at most `size`; a function of `seed` alone.

    Equal parts: a rest of three rows would be an optimiser step on three rows.
    """
    order = np.random.default_rng(seed).permutation(rows)
    return np.array_split(order, max(1, -(-rows // size)))


def micro_batches(lengths: Sequence[int], indices: NDArray[np.int64], max_tokens: int) -> list[NDArray[np.int64]]:
    """Group `indices` by length so that rows x longest row <= `max_tokens`; a row longer than that is alone."""
    by_length = sorted(indices.tolist(), key=lambda index: (-lengths[index], index))
    groups: list[list[int]] = []
    for index in by_length:
        # Longest first: the first row of a group sets its width.
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= max_tokens:
            groups[-1].append(index)
        else:
            groups.append([index])
    return [np.array(group) for group in groups]
