"""The actor's part of an update: dual-clip PPO over packed rows (method.md, section 10), off-policy corrected.

Per token the loss is w * surrogate(r) - entropy + KL, with r = pi / pi_proximal, which is clipped, and
w = pi_proximal / pi_behaviour, which is a constant: truncated importance weights. The loss of a mini-batch is the mean
over all of its tokens, however it is cut.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hiper.config.sections import LearnerSettings
from services.learner.backend import Backend
from services.learner.losses import importance_weights, k3, policy_terms
from services.learner.packing import minibatches
from services.learner.passes import MicroBatch, Passes
from services.learner.rows import TrainRow
from services.learner.tally import Tally

__all__ = ["ActorUpdate", "ActorWork", "with_effective_share"]


@dataclass(frozen=True, slots=True)
class ActorWork:
    """What the actor learns from. Log-probabilities are [R] per row, on the device."""

    rows: Sequence[TrainRow]
    proximal: list[Tensor]
    """Of the policy the ratio is clipped around."""
    behaviour: list[Tensor]
    """Of the policy that sampled."""
    reference: list[Tensor] | None
    """Of the one the KL term pulls to."""


class ActorUpdate:
    """One pass over the rows per epoch."""

    def __init__(self, backend: Backend, passes: Passes, settings: LearnerSettings) -> None:
        self._backend = backend
        self._passes = passes
        self._settings = settings

    def run(self, work: ActorWork, seed: tuple[int, int], tally: Tally, step: Callable[[], None]) -> None:
        """Train; the order of rows is a function of `seed` and the epoch. `step` takes an optimiser step."""
        settings, rows = self._settings.actor, work.rows
        for epoch in range(settings.epochs):
            for indices in minibatches(len(rows), settings.minibatch_rows, (*seed, epoch, 0)):
                tokens = sum(int(rows[i].mask.sum()) for i in indices)
                if not tokens:
                    continue
                for micro in self._passes.over([row.tokens for row in rows], indices):
                    loss = self._loss(work, micro, tally)
                    self._backend.backward(loss / tokens, last=micro.last)
                step()

    def _loss(self, work: ActorWork, micro: MicroBatch, tally: Tally) -> Tensor:
        """Sum over the masked tokens of a micro-batch."""
        settings, rows, device = self._settings, [work.rows[i] for i in micro.indices], self._passes.device
        with self._passes.autocast():
            logprobs, entropy = self._backend.forward(micro.batch)
        advantages = torch.from_numpy(np.concatenate([row.advantages for row in rows])).to(device)
        mask = torch.from_numpy(np.concatenate([row.mask for row in rows])).to(device) & micro.counts
        proximal = torch.cat([work.proximal[i] for i in micro.indices])
        terms = policy_terms(
            logprobs,
            proximal,
            advantages,
            clip=(settings.clip_low, settings.clip_high),
            dual_clip=settings.dual_clip,
        )
        surrogate = terms.surrogate
        if settings.importance != "off":
            surrogate = surrogate * self._importance(work, micro, mask, tally)
        tally.mean("policy_loss", surrogate.detach()[mask])
        loss: Tensor = (surrogate - settings.entropy_coef * entropy)[mask].sum()
        with torch.no_grad():
            tally.mean("entropy", entropy[mask])
            tally.mean("ratio", terms.ratio[mask])
            tally.mean("clip_fraction", terms.clipped_high[mask].float())
            tally.mean("dual_clip_fraction", terms.clipped_dual[mask].float())
            tally.mean("kl_old", (proximal - logprobs)[mask])
        if work.reference is not None:
            penalty = k3(logprobs, torch.cat([work.reference[i] for i in micro.indices]))[mask]
            tally.mean("kl_reference", penalty.detach())
            loss += settings.kl_coef * penalty.sum()
        return loss

    def _importance(self, work: ActorWork, micro: MicroBatch, mask: Tensor, tally: Tally) -> Tensor:
        settings = self._settings
        proximal, behaviour = (torch.cat([of[i] for i in micro.indices]) for of in (work.proximal, work.behaviour))
        found = importance_weights(
            proximal, behaviour, cap=settings.off_policy.importance_cap, mask=settings.importance == "mask"
        )
        tally.mean("importance_weight", found.weights[mask])
        tally.mean("importance_weight_squared", found.weights[mask] ** 2)
        tally.mean("importance_capped_fraction", found.capped[mask].float())
        return found.weights


def with_effective_share(metrics: dict[str, float]) -> dict[str, float]:
    """Put the effective sample size's share of the tokens, (mean w)^2 / mean w^2, in place of the latter."""
    squared = metrics.pop("importance_weight_squared", None)
    if squared:
        metrics["importance_effective_share"] = metrics["importance_weight"] ** 2 / squared
    return metrics
