"""The critic's part of an update: squared errors of three heads at their value positions (method.md, section 6).

The loss of a mini-batch is, per head, the mean over all of the head's positions, however the mini-batch is cut.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from hiper.config.sections import LearnerSettings
from services.learner.backend import Backend
from services.learner.losses import value_errors
from services.learner.model import HEADS
from services.learner.packing import minibatches
from services.learner.passes import MicroBatch, Passes
from services.learner.rows import TrainRow
from services.learner.tally import Tally

__all__ = ["CriticUpdate"]


class CriticUpdate:
    """One pass over the rows' value prefixes per epoch."""

    def __init__(self, backend: Backend, passes: Passes, settings: LearnerSettings) -> None:
        self._backend = backend
        self._passes = passes
        self._settings = settings

    def run(self, rows: Sequence[TrainRow], seed: tuple[int, int], tally: Tally, step: Callable[[], None]) -> None:
        """Train; the order of rows is a function of `seed` and the epoch. `step` takes an optimiser step."""
        settings, prefixes = self._settings.critic, [row.tokens.value_prefix() for row in rows]
        for epoch in range(settings.epochs):
            for indices in minibatches(len(rows), settings.minibatch_rows, (*seed, epoch, 1)):
                known = np.isfinite([rows[i].targets for i in indices]).sum(axis=0)
                per_head = torch.from_numpy(known).clamp(min=1).to(self._passes.device)
                for micro in self._passes.over(prefixes, indices):
                    errors = self._errors(rows, micro, tally)
                    self._backend.backward((errors.sum(dim=0) / per_head).sum(), last=micro.last)
                step()

    def _errors(self, rows: Sequence[TrainRow], micro: MicroBatch, tally: Tally) -> Tensor:
        """[B, heads], 0 where nothing is known."""
        device, clip = self._passes.device, self._settings.value_clip
        with self._passes.autocast():
            values = self._backend.forward(micro.batch)
        targets = torch.from_numpy(np.stack([rows[i].targets for i in micro.indices])).to(device)
        old_values = torch.from_numpy(np.stack([rows[i].old_values for i in micro.indices])).to(device)
        if not micro.counts:
            targets = torch.full_like(targets, torch.nan)
        known = torch.isfinite(targets)
        errors = value_errors(values, targets, old_values, clip)
        for index, head in enumerate(HEADS):
            tally.mean(f"value_loss_{head}", errors.detach()[known[:, index], index])
        if clip is not None:
            moved = (values.detach() - old_values)[known & torch.isfinite(old_values)]
            tally.mean("value_clip_fraction", (moved.abs() > clip).float())
        return errors
