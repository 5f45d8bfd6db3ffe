"""Rows through a model: packed, in micro-batches, this rank's share of them."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiper.config.sections import LearnerSettings
from services.learner.packing import PackedBatch, Policy, TokenRow, micro_batches, pack
from services.learner.ranks import Ranks

__all__ = ["Interrupted", "MicroBatch", "Passes"]


class Interrupted(Exception):  # noqa: N818 - an expected turn of events, handled by `Trainer.update`
    """Somebody asked an update to stop."""


class MicroBatch(NamedTuple):
    """Rows that share a pass."""

    indices: NDArray[np.int64]
    batch: PackedBatch
    last: bool
    """The last one before a step."""
    counts: bool
    """False: it repeats a row, for there is none left and every rank must run as often as the others; it must weigh
    nothing."""


@dataclass(frozen=True, slots=True)
class Passes:
    """How rows are sent through models."""

    settings: LearnerSettings
    device: torch.device
    ranks: Ranks
    interrupted: threading.Event
    """Set: stop before the next micro-batch."""

    def over(self, rows: Sequence[TokenRow], indices: NDArray[np.int64]) -> Iterator[MicroBatch]:
        """Yield the rows of `indices`, of which there is at least one. Raises `Interrupted`."""
        lengths = [len(row) for row in rows]
        parts = micro_batches(lengths, indices, self.settings.micro_tokens, self.ranks.of)
        own = parts[self.ranks.index :: self.ranks.of]
        for number, part in enumerate(own):
            if self.ranks.any(self.interrupted.is_set()):
                raise Interrupted
            chosen = part if len(part) else indices[:1]
            batch = pack([rows[i] for i in chosen], self.device)
            yield MicroBatch(chosen, batch, last=number == len(own) - 1, counts=len(part) > 0)

    @torch.no_grad()
    def logprobs(self, policy: Policy, rows: Sequence[TokenRow]) -> list[Tensor]:
        """Return, row by row, [R] log-probabilities of the response."""
        sizes = [len(row.response) for row in rows]
        found = [torch.zeros(size, device=self.device) for size in sizes]
        for micro in self.over(rows, np.arange(len(rows))):
            with self.autocast():
                logprobs, _ = policy(micro.batch)
            if micro.counts:
                for i, own in zip(micro.indices, torch.split(logprobs, [sizes[i] for i in micro.indices]), strict=True):
                    found[i] = own
        return list(torch.split(self.ranks.sum(torch.cat(found)), sizes)) if rows else []

    def autocast(self) -> AbstractContextManager[object]:
        """The type layers compute in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.dtype == "bfloat16")
