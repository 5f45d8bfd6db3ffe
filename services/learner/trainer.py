"""One update: a batch of rows in, new weights of actor and critic (where there is one) and a table of metrics out.

The order of rows is a function of (seed, version, epoch, model) alone, so an update repeated after a crash gives the
same weights bit for bit on a deterministic device. The critic may be read from another thread at any time but during
its own part of an update; a reader therefore always sees one whole version of it. Weights and optimiser states are
float32; `learner.dtype` is the type the layers compute in.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from hiper import logs
from hiper.config.sections import LearnerSettings
from hiper.errors import IntegrityError, RunStateError
from hiper.metrics import counter, gauge
from services.learner import speed
from services.learner.actor_update import ActorUpdate, ActorWork, with_effective_share
from services.learner.backend import make_backend
from services.learner.critic_update import CriticUpdate
from services.learner.lora import without_adapters
from services.learner.mismatch import MismatchWatch
from services.learner.model import HEADS, Actor, Critic
from services.learner.packing import Policy, TokenRow
from services.learner.passes import Interrupted, Passes
from services.learner.ranks import Ranks
from services.learner.rows import TrainRow
from services.learner.speed import Shape
from services.learner.tally import Tally
from services.learner.trained_files import restore_trained, save_trained

__all__ = ["Metrics", "Models", "Trainer"]

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a run."""

    actor: PreTrainedModel
    critic: Critic | None
    """Without it there are no values: targets are ignored."""
    reference: PreTrainedModel | None
    """What the KL term pulls to; the actor itself stands for the actor without its adapters."""
    temperature: float = 1.0
    """The one tokens are sampled at."""


class Trainer:
    """Owns the models and their optimisers."""

    def __init__(self, models: Models, settings: LearnerSettings, seed: int, ranks: Ranks | None = None) -> None:
        """`ranks`: the processes that train together, each with models of its own."""
        self.actor = models.actor
        self.critic = models.critic
        self.critic_version = 0
        self.device = torch.device(models.actor.device)
        """Where the models are."""
        self._settings = settings
        self._seed = seed
        self._interrupted = threading.Event()
        self._passes = Passes(settings, self.device, ranks or Ranks(), self._interrupted)
        # Sizes are read before ZeRO takes the weights apart.
        self._actor_shape = Shape.of(models.actor)
        self._critic_shape = None if models.critic is None else Shape.of(models.critic.backbone)
        shapes = [shape for shape in (self._actor_shape, self._critic_shape) if shape is not None]
        self.vocabulary = min(shape.vocabulary for shape in shapes)
        """Token ids all trained models know are below this."""
        actor = Actor(models.actor, models.temperature)
        self.trained = {"actor": make_backend(actor, models.actor, settings.actor, settings)}
        self._reference = self._reference_of(models)
        if models.critic is not None:
            self.trained["critic"] = make_backend(models.critic, models.critic, settings.critic, settings)
        self._mismatch = MismatchWatch(settings.off_policy)
        self._peak = speed.peak_flops(settings, self.device)
        self._critic_lock = threading.Lock()
        self._seconds_values = 0.0
        self._log = logs.get()
        for name, backend in self.trained.items():
            gauge("learner_learning_rate").labels(model=name).set(backend.learning_rate)

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
        if "critic" not in self.trained:
            raise RunStateError("this run keeps no critic", "its estimator needs none: see hae.estimator")
        result = torch.zeros((len(rows), len(HEADS)), dtype=torch.float64)
        prefixes = [row.value_prefix() for row in rows]
        # No inference mode: weights that ZeRO-3 gathers in it could not be trained after.
        with self._critic_lock, torch.no_grad(), self._passes.autocast():
            started = time.perf_counter()
            try:
                for micro in self._passes.over(prefixes, np.arange(len(rows))) if rows else ():
                    values = self.trained["critic"].forward(micro.batch)
                    if micro.counts:
                        result[torch.from_numpy(micro.indices)] = values.double().cpu()
            except Interrupted as stop:
                raise RunStateError("the learner is stopping", "ask its successor") from stop
            self._seconds_values += time.perf_counter() - started
            return self._passes.ranks.sum(result).numpy(), self.critic_version

    def save(self, directory: Path | None) -> None:
        """Write the models and their optimisers' states; None: only help other ranks to."""
        save_trained(self.trained, directory)

    def restore(self, directory: Path, version: int) -> None:
        """Take up what `save` wrote at `version`. Raises `IntegrityError`, on every rank if on one."""
        failure = None
        try:
            restore_trained(self.trained, directory)
        except IntegrityError as error:
            failure = error
        if self._passes.ranks.any(failure is not None):
            raise failure or IntegrityError(f"another process could not take up {directory}")
        self.critic_version = version

    @contextmanager
    def whole_actor(self) -> Iterator[PreTrainedModel]:
        """Inside, every tensor of the actor is whole on this rank."""
        with self.trained["actor"].whole():
            yield self.actor

    def follow(self) -> bool:
        """Do as the leading process says until it is done; False at once if this is the one."""
        return False

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Lead the other processes, where there are any, and let them go if all ends well."""
        yield

    def update(self, rows: Sequence[TrainRow], version: int) -> Metrics | None:
        """Improve critic, if any, and actor on `rows`, making version `version` + 1; return means over the batch.

        None if `interrupt` was called meanwhile.
        """
        try:
            return self._update(rows, version)
        except Interrupted:
            return None
        except BaseException:
            self.interrupt()
            raise

    def _update(self, rows: Sequence[TrainRow], version: int) -> Metrics:
        speed.begin(self.device)
        same, shares = Tally(), Tally()
        same.add("rows", len(rows))
        same.add("tokens", sum(len(row) for row in rows))
        same.add("response_tokens", sum(len(row.mask) for row in rows))
        with _timed(same, "logprobs"):
            work = self._actor_work(rows, version, same)
        if self.critic is not None:
            with self._critic_lock:
                with _timed(same, "critic"):
                    update = CriticUpdate(self.trained["critic"], self._passes, self._settings)
                    update.run(rows, (self._seed, version), shares, self._stepper("critic", same))
                self.critic_version = version + 1
                same.add("seconds_values", self._seconds_values)
                self._seconds_values = 0.0
        with _timed(same, "actor"):
            if version >= self._settings.critic_warmup_iterations:
                actor = ActorUpdate(self.trained["actor"], self._passes, self._settings)
                actor.run(work, (self._seed, version), shares, self._stepper("actor", same))
        metrics = {**same.result(), **with_effective_share(shares.over(self._passes.ranks).result())}
        peak = None if self._peak is None else self._peak * self._passes.ranks.of
        return {**metrics, **speed.speed(metrics, self._flops(rows, version), peak, self.device)}

    def _actor_work(self, rows: Sequence[TrainRow], version: int, tally: Tally) -> ActorWork:
        tokens = [row.tokens for row in rows]
        behaviour = [torch.from_numpy(row.behaviour_logprobs.copy()).to(self.device) for row in rows]
        recomputes = self._settings.off_policy.proximal == "recomputed"
        # Where nothing is recomputed, a mini-batch stands for the batch.
        compared = len(rows) if recomputes else self._settings.actor.minibatch_rows
        own = self._passes.logprobs(self.trained["actor"].forward, tokens[:compared])
        self._mismatch.measure(rows[:compared], own, version, tally)
        reference = None if self._reference is None else self._passes.logprobs(self._reference, tokens)
        return ActorWork(rows, own if recomputes else behaviour, behaviour, reference)

    def _reference_of(self, models: Models) -> Policy | None:
        if models.reference is models.actor:
            return without_adapters(models.actor, self.trained["actor"].forward)
        return None if models.reference is None else Actor(models.reference, models.temperature)

    def _stepper(self, name: str, tally: Tally) -> Callable[[], None]:
        """Steps of a model, counted; one whose gradient is not finite is skipped, counted and logged."""

        def step() -> None:
            norm = self.trained[name].step()
            tally.add(f"{name}_steps", 1)
            if math.isfinite(norm):
                counter("learner_steps_total").labels(model=name).inc()
                tally.mean(f"{name}_grad_norm", torch.tensor([norm]))
            else:
                counter("learner_nonfinite_total").labels(where=name).inc()
                self._log.error("gradient is not finite; the step is skipped", model=name)

        return step

    def _flops(self, rows: Sequence[TrainRow], version: int) -> float:
        """Of the update: passes over the rows, a backward one being two."""
        settings, tokens = self._settings, [row.tokens for row in rows]
        trains = version >= settings.critic_warmup_iterations
        # Adapters need no gradient of the weights.
        training = 3 if settings.lora is None else 2
        passes = training * settings.actor.epochs * trains + (settings.off_policy.proximal == "recomputed")
        passes += self._reference is not None
        total = passes * self._actor_shape.forward_flops(tokens, with_output=True)
        if self._critic_shape is not None:
            prefixes = [row.value_prefix() for row in tokens]
            total += 3 * settings.critic.epochs * self._critic_shape.forward_flops(prefixes, with_output=False)
        return total


@contextmanager
def _timed(tally: Tally, phase: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    tally.add(f"seconds_{phase}", time.perf_counter() - started)
