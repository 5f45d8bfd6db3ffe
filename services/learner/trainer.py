"""One update: a batch of rows in, new weights of actor and critic (where there is one) and a table of metrics out.

The order of rows is a function of (seed, version, epoch, model) alone, so an update repeated after a crash gives the
same weights bit for bit on a deterministic device. The critic may be read from another thread at any time but during
its own part of an update; a reader therefore always sees one whole version of it. Weights and optimiser states are
float32; `learner.dtype` is the type the layers compute in.
"""

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from hiper import logs
from hiper.config.sections import LearnerSettings, OptimiserSettings
from hiper.errors import RunStateError
from hiper.metrics import counter, gauge, histogram
from services.learner.losses import k3, policy_terms, value_errors
from services.learner.model import HEADS, Critic, PaddedBatch, TokenRow, pad, response_logprobs
from services.learner.packing import micro_batches, minibatches
from services.learner.rows import TrainRow
from services.learner.tally import Tally

__all__ = ["Metrics", "Trained", "Trainer"]

Metrics = dict[str, float]
_ACTOR, _CRITIC = 0, 1
_OBSERVED = 1000
"""Tokens of an update that enter the histogram of differences: a Python call each."""


class Trained(NamedTuple):
    """A model and what trains it."""

    model: torch.nn.Module
    optimiser: torch.optim.Optimizer


class _Interrupted(Exception):  # noqa: N818 - an expected turn of events, handled by `Trainer.update`
    """Somebody asked an update to stop."""


class Trainer:
    """Owns the models and their optimisers. Without a critic there are no values: targets are ignored."""

    def __init__(
        self,
        actor: PreTrainedModel,
        critic: Critic | None,
        reference: PreTrainedModel | None,
        settings: LearnerSettings,
        seed: int,
    ) -> None:
        self.actor = actor
        self.critic = critic
        self.critic_version = 0
        self.trained: dict[str, Trained] = {"actor": Trained(actor, _adamw(actor, settings.actor))}
        if critic is not None:
            self.trained["critic"] = Trained(critic, _adamw(critic, settings.critic))
        self._reference = reference
        self._settings = settings
        self._seed = seed
        self._critic_lock = threading.Lock()
        self._seconds_values = 0.0
        self._interrupted = threading.Event()
        self._log = logs.get()
        for name, part in self.trained.items():
            gauge("learner_learning_rate").labels(model=name).set(part.optimiser.param_groups[0]["lr"])

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return torch.device(self.actor.device)

    @property
    def vocabulary(self) -> int:
        """Token ids all trained models know are below this."""
        backbones = [self.actor] if self.critic is None else [self.actor, self.critic.backbone]
        return min(len(model.get_input_embeddings().weight) for model in backbones)

    def interrupt(self) -> None:
        """Make an update end after its current micro-batch, half done: from now on these models are good for nothing.

        Thread-safe.
        """
        self._interrupted.set()

    def values(self, rows: Sequence[TokenRow]) -> tuple[NDArray[np.float64], int]:
        """Return [B, 3] values of one version of the critic, and that version.

        Waits while the critic is being updated. Raises `RunStateError` if there is none, and after `interrupt`, whose
        critic may be half updated.
        """
        critic = self.critic
        if critic is None:
            raise RunStateError("this run keeps no critic", "its estimator needs none: see hae.estimator")
        result = np.empty((len(rows), len(HEADS)))
        prefixes = [row.value_prefix() for row in rows]
        lengths = [len(row) for row in prefixes]
        with self._critic_lock, torch.inference_mode(), self._autocast():
            started = time.perf_counter()
            for part in micro_batches(lengths, np.arange(len(rows)), self._settings.micro_tokens):
                if self._interrupted.is_set():
                    raise RunStateError("the learner is stopping", "ask its successor")
                result[part] = critic(self._pad(prefixes, part)).double().cpu().numpy()
            self._seconds_values += time.perf_counter() - started
            return result, self.critic_version

    def update(self, rows: Sequence[TrainRow], version: int) -> Metrics | None:
        """Improve critic, if any, and actor on `rows`, making version `version` + 1; return means over the batch.

        None if `interrupt` was called meanwhile.
        """
        try:
            return self._update(rows, version)
        except _Interrupted:
            return None
        except BaseException:
            self.interrupt()
            raise

    def _update(self, rows: Sequence[TrainRow], version: int) -> Metrics:
        tally = Tally()
        tally.add("rows", len(rows))
        tally.add("tokens", sum(len(row) for row in rows))
        tally.add("response_tokens", sum(len(row.mask) for row in rows))
        with _timed(tally, "logprobs"):
            old = self._all_logprobs(self.actor, rows)
            reference = self._all_logprobs(self._reference, rows) if self._reference is not None else None
            _compare_engines(rows, old, tally)
        if self.critic is not None:
            with self._critic_lock:
                with _timed(tally, "critic"):
                    self._update_critic(self.critic, rows, version, tally)
                self.critic_version = version + 1
                tally.add("seconds_values", self._seconds_values)
                self._seconds_values = 0.0
        with _timed(tally, "actor"):
            if version >= self._settings.critic_warmup_iterations:
                self._update_actor(rows, old, reference, version, tally)
        return tally.result()

    def _update_critic(self, critic: Critic, rows: Sequence[TrainRow], version: int, tally: Tally) -> None:
        settings, prefixes = self._settings.critic, [row.tokens.value_prefix() for row in rows]
        lengths = [len(row) for row in prefixes]
        for epoch in range(settings.epochs):
            for indices in minibatches(len(rows), settings.minibatch_rows, (self._seed, version, epoch, _CRITIC)):
                known = np.isfinite([rows[i].targets for i in indices]).sum(axis=0)
                per_head = torch.from_numpy(known).clamp(min=1).to(self.device)
                for part in self._micro_batches(lengths, indices):
                    with self._autocast():
                        values = critic(self._pad(prefixes, part))
                    errors = self._value_errors(values, rows, part, tally)
                    (errors.sum(dim=0) / per_head).sum().backward()  # type: ignore[no-untyped-call]
                    for head, total in zip(HEADS, errors.detach().sum(dim=0).tolist(), strict=True):
                        tally.add(f"value_loss_{head}", total)
                for head, count in zip(HEADS, known.tolist(), strict=True):
                    tally.weigh(f"value_loss_{head}", count)
                self._step("critic", settings, tally)

    def _value_errors(self, values: Tensor, rows: Sequence[TrainRow], part: NDArray[np.int64], tally: Tally) -> Tensor:
        targets = torch.from_numpy(np.stack([rows[i].targets for i in part])).to(self.device)
        old_values = torch.from_numpy(np.stack([rows[i].old_values for i in part])).to(self.device)
        clip = self._settings.value_clip
        if clip is not None:
            moved = (values.detach() - old_values)[torch.isfinite(targets) & torch.isfinite(old_values)]
            tally.mean("value_clip_fraction", (moved.abs() > clip).float())
        return value_errors(values, targets, old_values, clip)

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
                for part in self._micro_batches(lengths, indices):
                    loss = self._actor_loss(rows, part, old, reference, tally)
                    (loss / tokens).backward()  # type: ignore[no-untyped-call]
                tally.weigh("policy_loss", tokens)
                self._step("actor", settings, tally)

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
        batch = self._pad([row.tokens for row in rows], part)
        with self._autocast():
            logprobs, entropy = response_logprobs(self.actor, batch)
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

    def _step(self, name: str, settings: OptimiserSettings, tally: Tally) -> None:
        """Take one optimiser step unless the gradient is not finite: then it is skipped, counted and logged."""
        model, optimiser = self.trained[name]
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
        for part in self._micro_batches(lengths, np.arange(len(rows))):
            with self._autocast():
                logprobs, _ = response_logprobs(model, self._pad(tokens, part))
            for i, own in zip(part, torch.split(logprobs, [len(rows[i].mask) for i in part]), strict=True):
                result[i] = own
        return result

    def _pad(self, rows: Sequence[TokenRow], part: NDArray[np.int64]) -> PaddedBatch:
        return pad([rows[i] for i in part], self.device)

    def _micro_batches(self, lengths: Sequence[int], indices: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        for part in micro_batches(lengths, indices, self._settings.micro_tokens):
            if self._interrupted.is_set():
                raise _Interrupted
            yield part

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._settings.dtype == "bfloat16")


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
    for sample in difference.abs()[:: 1 + len(difference) // _OBSERVED].tolist():
        histogram("learner_logprob_abs_diff").observe(sample)
    tally.mean("logprob_abs_diff", difference.abs())
    tally.mean("logprob_mismatch_k1", -difference)
    tally.mean("logprob_mismatch_kl", k3(sampled, torch.cat(old).cpu()))


@contextmanager
def _timed(tally: Tally, phase: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    tally.add(f"seconds_{phase}", time.perf_counter() - started)
