"""One update: a batch of rows in, new weights of actor and critic and a table of metrics out.

The order of rows is a function of (seed, version, epoch, model) alone, so an update repeated after a crash gives the
same weights bit for bit on a deterministic device. The critic may be read from another thread at any time but during
its own part of an update; a reader therefore always sees one whole version of it.
"""

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from hiper import logs
from hiper.config.sections import LearnerSettings, OptimiserSettings
from hiper.metrics import counter
from services.learner.losses import k3, policy_terms, value_errors
from services.learner.model import HEADS, Critic, PaddedBatch, TokenRow, pad, response_logprobs
from services.learner.packing import micro_batches, minibatches
from services.learner.rows import TrainRow
from services.learner.tally import Tally

__all__ = ["Metrics", "Trainer"]

Metrics = dict[str, float]
_ACTOR, _CRITIC = 0, 1


class Trainer:
    """Owns the models and their optimisers."""

    def __init__(
        self,
        actor: PreTrainedModel,
        critic: Critic,
        reference: PreTrainedModel | None,
        settings: LearnerSettings,
        seed: int,
    ) -> None:
        self.actor = actor
        self.critic = critic
        self.critic_version = 0
        self.actor_optimiser = _adamw(actor, settings.actor)
        self.critic_optimiser = _adamw(critic, settings.critic)
        self._reference = reference
        self._settings = settings
        self._seed = seed
        self._critic_lock = threading.Lock()
        self._log = logs.get()

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return torch.device(self.actor.device)

    def values(self, rows: Sequence[TokenRow]) -> tuple[NDArray[np.float64], int]:
        """Return [B, 3] values of one version of the critic, and that version.

        Waits while the critic is being updated.
        """
        result = np.empty((len(rows), len(HEADS)))
        lengths = [len(row) for row in rows]
        with self._critic_lock, torch.inference_mode():
            for part in micro_batches(lengths, np.arange(len(rows)), self._settings.micro_tokens):
                result[part] = self.critic(self._pad(rows, part)).double().cpu().numpy()
            return result, self.critic_version

    def update(self, rows: Sequence[TrainRow], version: int) -> Metrics:
        """Improve critic and actor on `rows`, making version `version` + 1; return means over the batch."""
        tally = Tally()
        tally.add("rows", len(rows))
        tally.add("tokens", sum(len(row) for row in rows))
        tally.add("response_tokens", sum(len(row.mask) for row in rows))
        with _timed(tally, "logprobs"):
            old = self._all_logprobs(self.actor, rows)
            reference = self._all_logprobs(self._reference, rows) if self._reference is not None else None
            _compare_engines(rows, old, tally)
        with self._critic_lock, _timed(tally, "critic"):
            self._update_critic(rows, version, tally)
            self.critic_version = version + 1
        with _timed(tally, "actor"):
            if version >= self._settings.critic_warmup_iterations:
                self._update_actor(rows, old, reference, version, tally)
        return tally.result()

    def _update_critic(self, rows: Sequence[TrainRow], version: int, tally: Tally) -> None:
        settings, lengths = self._settings.critic, [len(row) for row in rows]
        for epoch in range(settings.epochs):
            for indices in minibatches(len(rows), settings.minibatch_rows, (self._seed, version, epoch, _CRITIC)):
                targets = np.stack([rows[i].targets for i in indices])
                per_head = torch.from_numpy(np.isfinite(targets).sum(axis=0)).clamp(min=1).to(self.device)
                for part in micro_batches(lengths, indices, self._settings.micro_tokens):
                    errors = self._value_errors(rows, part)
                    (errors.sum(dim=0) / per_head).sum().backward()  # type: ignore[no-untyped-call]
                    for head, total in zip(HEADS, errors.detach().sum(dim=0).tolist(), strict=True):
                        tally.add(f"value_loss_{head}", total)
                for head, count in zip(HEADS, np.isfinite(targets).sum(axis=0).tolist(), strict=True):
                    tally.weigh(f"value_loss_{head}", count)
                self._step("critic", self.critic, self.critic_optimiser, settings, tally)

    def _value_errors(self, rows: Sequence[TrainRow], part: NDArray[np.int64]) -> Tensor:
        values = self.critic(self._pad([row.tokens for row in rows], part))
        targets = torch.from_numpy(np.stack([rows[i].targets for i in part])).to(self.device)
        old_values = torch.from_numpy(np.stack([rows[i].old_values for i in part])).to(self.device)
        return value_errors(values, targets, old_values, self._settings.value_clip)

    def _update_actor(
        self,
        rows: Sequence[TrainRow],
        old: list[Tensor],
        reference: list[Tensor] | None,
        version: int,
        tally: Tally,
    ) -> None:
        settings, lengths = self._settings.actor, [len(row) for row in rows]
        for epoch in range(settings.epochs):
            for indices in minibatches(len(rows), settings.minibatch_rows, (self._seed, version, epoch, _ACTOR)):
                tokens = sum(int(rows[i].mask.sum()) for i in indices)
                if not tokens:
                    continue
                for part in micro_batches(lengths, indices, self._settings.micro_tokens):
                    loss = self._actor_loss(rows, part, old, reference, tally)
                    (loss / tokens).backward()  # type: ignore[no-untyped-call]
                tally.weigh("policy_loss", tokens)
                self._step("actor", self.actor, self.actor_optimiser, settings, tally)

    def _actor_loss(
        self,
        rows: Sequence[TrainRow],
        part: NDArray[np.int64],
        old: list[Tensor],
        reference: list[Tensor] | None,
        tally: Tally,
    ) -> Tensor:
        """Sum over the masked tokens of `part`."""
        settings = self._settings
        logprobs, entropy = response_logprobs(self.actor, self._pad([row.tokens for row in rows], part))
        advantages = torch.from_numpy(np.concatenate([rows[i].advantages for i in part])).to(self.device)
        mask = torch.from_numpy(np.concatenate([rows[i].mask for i in part])).to(self.device)
        before = torch.cat([old[i] for i in part])
        terms = policy_terms(
            logprobs,
            before,
            advantages,
            clip=(settings.clip_low, settings.clip_high),
            dual_clip=settings.dual_clip,
        )
        loss = (terms.surrogate - settings.entropy_coef * entropy)[mask].sum()
        tally.add("policy_loss", float(terms.surrogate.detach()[mask].sum()))
        with torch.no_grad():
            tally.mean("entropy", entropy[mask])
            tally.mean("ratio", terms.ratio[mask])
            tally.mean("clip_fraction", terms.clipped_high[mask].float())
            tally.mean("dual_clip_fraction", terms.clipped_dual[mask].float())
            tally.mean("kl_old", (before - logprobs)[mask])
        if reference is not None:
            penalty = k3(logprobs, torch.cat([reference[i] for i in part]))[mask]
            tally.mean("kl_reference", penalty.detach())
            loss = loss + settings.kl_coef * penalty.sum()
        return loss

    def _step(
        self,
        name: str,
        model: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        settings: OptimiserSettings,
        tally: Tally,
    ) -> None:
        """Take one optimiser step unless the gradient is not finite: then it is skipped, counted and logged."""
        norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm))
        if math.isfinite(norm):
            optimiser.step()
            counter("learner_steps_total").labels(model=name).inc()
            tally.mean(f"{name}_grad_norm", torch.tensor([norm]))
        else:
            counter("learner_nonfinite_total").labels(where=name).inc()
            self._log.error("gradient is not finite; the step is skipped", model=name)
        tally.add(f"{name}_steps", 1)
        optimiser.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _all_logprobs(self, model: PreTrainedModel, rows: Sequence[TrainRow]) -> list[Tensor]:
        """Return, row by row, [R] log-probabilities of the response."""
        result: list[Tensor] = [torch.empty(0)] * len(rows)
        lengths, tokens = [len(row) for row in rows], [row.tokens for row in rows]
        for part in micro_batches(lengths, np.arange(len(rows)), self._settings.micro_tokens):
            logprobs, _ = response_logprobs(model, self._pad(tokens, part))
            for i, own in zip(part, torch.split(logprobs, [len(rows[i].mask) for i in part]), strict=True):
                result[i] = own
        return result

    def _pad(self, rows: Sequence[TokenRow], part: NDArray[np.int64]) -> PaddedBatch:
        return pad([rows[i] for i in part], self.device)


def _adamw(model: torch.nn.Module, settings: OptimiserSettings) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        model.parameters(), lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay
    )


def _compare_engines(rows: Sequence[TrainRow], old: list[Tensor], tally: Tally) -> None:
    """Measure how far the learner's log-probabilities are from those the tokens were sampled with."""
    if not rows:
        return
    sampled = torch.from_numpy(np.concatenate([row.behaviour_logprobs for row in rows]))
    difference = torch.cat(old).cpu() - sampled
    tally.mean("logprob_abs_diff", difference.abs())
    tally.mean("logprob_mismatch_kl", difference.exp() - difference - 1)


@contextmanager
def _timed(tally: Tally, phase: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    tally.add(f"seconds_{phase}", time.perf_counter() - started)
