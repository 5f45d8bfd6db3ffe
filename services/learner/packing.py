"""Rows without padding: which rows share a forward pass, and how they lie in it.

Rows follow one another in a single sequence; positions begin at 0 in each, and attention stops at its ends
(`services.learner.attention`). A pass costs its tokens and nothing else. Micro-batches are cut from the rows sorted by
length so that they hold nearly the same number of tokens: on several ranks, those that run at the same time take the
same time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["PackedBatch", "Policy", "TokenRow", "micro_batches", "minibatches", "pack"]


@dataclass(frozen=True, slots=True, eq=False)
class TokenRow:
    """A prompt and its response, as token ids (int32). An empty response is a bare prompt."""

    prompt: NDArray[np.int32]
    response: NDArray[np.int32]
    value_low_position: int = 0
    """Response token whose preceding hidden state gives V_low."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)

    def value_prefix(self) -> "TokenRow":
        """Return the row up to the last token a value is read at: the critic needs no more of it."""
        return TokenRow(self.prompt, self.response[: self.value_low_position], self.value_low_position)


@dataclass(frozen=True, slots=True, eq=False)
class PackedBatch:
    """Rows one after the other. B rows, T tokens, R response tokens in all, in row order."""

    ids: Tensor
    """[T] token ids."""
    positions: Tensor
    """[T] position of each token in its row."""
    boundaries: Tensor
    """[B + 1] int32 where rows begin, and T."""
    longest: int
    """Tokens of the longest row."""
    predicts: Tensor
    """[R] indices of the hidden states that predict the response tokens."""
    targets: Tensor
    """[R] the response tokens."""
    prompt_end: Tensor
    """[B] index of the last prompt token: V_high and V_switch are read there."""
    low_read: Tensor
    """[B] index V_low is read at."""


Policy = Callable[[PackedBatch], tuple[Tensor, Tensor]]
"""Log-probabilities and entropies [R] of the responses of a batch."""


def pack(rows: Sequence[TokenRow], device: torch.device) -> PackedBatch:
    """Lay rows one after the other."""
    lengths = [len(row) for row in rows]
    starts = np.cumsum([0, *lengths])
    prompt_end = starts[:-1] + np.array([len(row.prompt) for row in rows]) - 1
    arrays = {
        "ids": np.concatenate([part for row in rows for part in (row.prompt, row.response)]).astype(np.int64),
        "positions": np.concatenate([np.arange(length) for length in lengths]),
        "boundaries": starts.astype(np.int32),
        "predicts": np.concatenate(
            [end + np.arange(len(row.response)) for end, row in zip(prompt_end, rows, strict=True)]
        ),
        "targets": np.concatenate([row.response for row in rows]).astype(np.int64),
        "prompt_end": prompt_end,
        "low_read": prompt_end + np.array([row.value_low_position for row in rows]),
    }
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    return PackedBatch(longest=max(lengths), **tensors)


def minibatches(rows: int, size: int, seed: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Split a random order of `rows` into nearly equal parts of at most `size`; a function of `seed` alone.

    Equal parts: a rest of three rows would be an optimiser step on three rows.
    """
    order = np.random.default_rng(seed).permutation(rows)
    return np.array_split(order, max(1, -(-rows // size)))


def micro_batches(
    lengths: Sequence[int], indices: NDArray[np.int64], max_tokens: int, multiple_of: int = 1
) -> list[NDArray[np.int64]]:
    """Cut `indices`, longest row first, into parts of at most `max_tokens` tokens and nearly equally many.

    Their number is a multiple of `multiple_of`, so that as many ranks run equally often; where there are fewer rows
    than parts, the last ones are empty. A row longer than `max_tokens` is alone.
    """
    order = np.array(sorted(indices.tolist(), key=lambda index: (-lengths[index], index)), dtype=np.int64)
    ends = np.cumsum([lengths[index] for index in order])
    total = int(ends[-1]) if len(ends) else 0
    parts = _round_up(max(1, -(-total // max_tokens)), multiple_of)
    while True:
        shares = np.linspace(0, total, parts + 1)
        cuts = np.searchsorted(ends, shares[1:-1], side="right")
        bounds = list(pairwise([0, *cuts.tolist(), len(order)]))
        if parts >= len(order) or all(_fits(ends, start, end, max_tokens) for start, end in bounds):
            break
        parts += multiple_of
    if parts >= len(order):
        bounds = [(min(part, len(order)), min(part + 1, len(order))) for part in range(parts)]
    return [order[start:end] for start, end in bounds]


def _fits(ends: NDArray[np.int64], start: int, end: int, max_tokens: int) -> bool:
    before = ends[start - 1] if start else 0
    return end - start == 1 or (end > start and int(ends[end - 1] - before) <= max_tokens)


def _round_up(number: int, multiple_of: int) -> int:
    return -(-number // multiple_of) * multiple_of
