"""`hiper config plan`: what a run would take on each type of GPU, from its settings alone.

Estimates, to a quarter or so: memory is counted tensor by tensor, time from floating-point operations at a share of the
peak and from memory bandwidth. Turns and lengths are those of the reference's logs (spec/method.md, 11.5 and 14),
bounded by the settings; an iteration is taken at its longest, when no episode ends early.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hiper.config import RunConfig
from hiper.config.learner import DeepspeedSettings, LearnerSettings, LoraSettings
from hiper.gpus import GPUS, Gpu
from hiper.model_shapes import ModelShape, model_shape
from hiper.vocabulary import EnvName

__all__ = ["Fleet", "GpuPlan", "Workload", "plan_run", "workload"]

_GIB = 2**30
_TRAINING_SHARE, _PREFILL_SHARE = 0.35, 0.45
"""Of the peak: packed rows of some 800 tokens, and prompts in a batch."""
_BANDWIDTH_SHARE = 0.7
_LOGITS_BYTES = 3 * 2**25 * 4
"""Three chunks of the log-probability step."""
_RUNTIME_BYTES = 2 * _GIB
"""CUDA context, kernels, buffers of collectives, fragmentation."""

_LENGTHS: dict[str, tuple[int, int]] = {EnvName.ALFWORLD: (800, 45), EnvName.WEBSHOP: (1350, 71)}
"""Mean tokens of a prompt and of a response; of other environments, ALFWorld's are assumed."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many GPUs do what."""

    learners: int = 1
    rollouts: int = 1


@dataclass(frozen=True, slots=True)
class Workload:
    """What one iteration works on, at most."""

    turns: int
    prompt_tokens: int
    """Mean of a turn."""
    response_tokens: int

    @property
    def row(self) -> int:
        """Tokens of a turn."""
        return self.prompt_tokens + self.response_tokens


@dataclass(frozen=True, slots=True)
class GpuPlan:
    """One type of GPU."""

    gpu: str
    memory_gib: float
    learner_gib: float
    """What a learner's GPU needs."""
    rollout_gib: float
    """What a rollout's GPU needs for weights and the longest sequence."""
    concurrent: int
    """Sequences of mean length a rollout's cache holds at once."""
    learner_s: float
    """Update of an iteration."""
    rollout_s: float
    """Generation of an iteration, environments not counted."""
    run_h: float
    """Whole run: one after the other when on-policy, the slower of the two otherwise."""

    @property
    def fits(self) -> bool:
        """Whether both parts have the memory."""
        return max(self.learner_gib, self.rollout_gib) <= self.memory_gib and self.concurrent > 0


def plan_run(config: RunConfig, fleet: Fleet, gpus: Sequence[Gpu] = GPUS) -> list[GpuPlan]:
    """Return the estimates for every type of GPU. Raises `DataError` for a model whose sizes are not known."""
    actor = model_shape(config.model.path)
    critic = model_shape(config.model.critic_path or config.model.path) if config.hae.estimator.needs_critic else None
    return [_Estimate(config, fleet, actor, critic, gpu).plan() for gpu in gpus]


def workload(config: RunConfig) -> Workload:
    """Return what an iteration of `config` works on at most."""
    prompt, response = _LENGTHS.get(config.env.name, _LENGTHS[EnvName.ALFWORLD])
    limits = config.rollout.sampling
    turns = config.batch_size * config.env.max_steps
    return Workload(turns, min(prompt, limits.max_prompt_tokens), min(response, limits.max_response_tokens))


@dataclass(frozen=True, slots=True)
class _Estimate:
    config: RunConfig
    fleet: Fleet
    actor: ModelShape
    critic: ModelShape | None
    gpu: Gpu

    def plan(self) -> GpuPlan:
        learner_s, rollout_s = self._learner_s(), self._rollout_s()
        learner = self.config.learner
        iteration_s = max(learner_s, rollout_s) if learner.max_staleness else learner_s + rollout_s
        return GpuPlan(
            gpu=self.gpu.name,
            memory_gib=self.gpu.memory_gib,
            learner_gib=self._learner_bytes() / _GIB,
            rollout_gib=self._rollout_bytes() / _GIB,
            concurrent=self._concurrent(),
            learner_s=learner_s,
            rollout_s=rollout_s,
            run_h=learner.iterations * iteration_s / 3600,
        )

    def _learner_bytes(self) -> float:
        settings = self.config.learner
        ranks = self.fleet.learners if isinstance(settings.backend, DeepspeedSettings) else 1
        needed = _trained_bytes(self.actor.parameters, settings, settings.lora, self.actor, ranks)
        if settings.kl_coef > 0 and settings.lora is None:
            needed += (2 if settings.dtype == "bfloat16" else 4) * self.actor.parameters
        if self.critic is not None:
            needed += _trained_bytes(self.critic.backbone_parameters, settings, None, self.critic, ranks)
        largest = max(self.actor, self.critic or self.actor, key=lambda shape: shape.parameters)
        return needed + _activation_bytes(largest, settings) + _LOGITS_BYTES + _RUNTIME_BYTES

    def _rollout_bytes(self) -> float:
        sampling = self.config.rollout.sampling
        longest = sampling.max_prompt_tokens + sampling.max_response_tokens
        return self._weights_per_gpu() + longest * self.actor.cache_bytes / self._span() + _RUNTIME_BYTES

    def _concurrent(self) -> int:
        """Sequences of mean length in the cache, at most as many as there are episodes."""
        work = workload(self.config)
        share = self.config.rollout.gpu_memory_utilization * self.gpu.memory_gib * _GIB
        free = share - self._weights_per_gpu() - _RUNTIME_BYTES
        fitting = int(free / (work.row * self.actor.cache_bytes / self._span()))
        return max(0, min(fitting, self.config.rollout.concurrent_episodes))

    def _learner_s(self) -> float:
        work, settings = workload(self.config), self.config.learner
        tokens, outputs = float(work.turns * work.row), float(work.turns * work.response_tokens)
        recomputes = settings.off_policy.proximal == "recomputed"
        passes = (2 if settings.lora else 3) * settings.actor.epochs + recomputes + (settings.kl_coef > 0)
        passes += settings.gradient_checkpointing * settings.actor.epochs
        flops = passes * self.actor.forward_flops(tokens, work.row, outputs)
        if self.critic is not None:
            critic_passes = (3 + settings.gradient_checkpointing) * settings.critic.epochs + 1
            flops += critic_passes * self.critic.forward_flops(tokens, work.row, 0)
        peak = self.gpu.bfloat16_tflops if settings.dtype == "bfloat16" else self.gpu.float32_tflops
        return flops / (_TRAINING_SHARE * peak * 1e12 * self.fleet.learners)

    def _rollout_s(self) -> float:
        """Prompts at a share of the peak; then every step of a batch reads the weights and the caches."""
        work = workload(self.config)
        prompts = float(work.turns * work.prompt_tokens)
        flops = self.actor.forward_flops(prompts, work.prompt_tokens, work.turns)
        prefill_s = flops / (_PREFILL_SHARE * self.gpu.bfloat16_tflops * 1e12 * self.fleet.rollouts)
        engines = max(1, self.fleet.rollouts // self._span())
        batch = max(1, min(self._concurrent(), self.config.batch_size // engines))
        read = self._weights_per_gpu() + batch * work.row * self.actor.cache_bytes / self._span()
        step_s = read / (_BANDWIDTH_SHARE * self.gpu.bandwidth_gb_s * 1e9)
        return prefill_s + work.turns * work.response_tokens / (batch * engines) * step_s

    def _weights_per_gpu(self) -> float:
        return 2.0 * self.actor.parameters / self._span()

    def _span(self) -> int:
        return self.config.rollout.tensor_parallel


def _trained_bytes(
    parameters: int, settings: LearnerSettings, lora: LoraSettings | None, shape: ModelShape, ranks: int
) -> float:
    """Float32 weights, gradients and two moments of a model, as ZeRO shares them out."""
    trained = parameters if lora is None else _adapter_parameters(lora, shape)
    weights, gradients, moments = 4.0 * parameters, 4.0 * trained, 8.0 * trained
    backend = settings.backend
    if not isinstance(backend, DeepspeedSettings):
        return weights + gradients + moments
    # ZeRO keeps a copy of the weights it steps on.
    moments = 0.0 if backend.offload != "none" else (moments + 4.0 * trained) / ranks
    gradients /= ranks if backend.stage >= 2 else 1
    weights /= ranks if backend.stage == 3 else 1
    return (0.0 if backend.offload == "all" else weights) + gradients + moments


def _adapter_parameters(lora: LoraSettings, shape: ModelShape) -> int:
    """Of adapters on all seven linear layers; in proportion for fewer."""
    shared_width = shape.hidden * shape.kv_heads // shape.heads
    attention = 2 * (2 * shape.hidden) + 2 * (shape.hidden + shared_width)
    feed_forward = 3 * (shape.hidden + shape.feed_forward)
    return int(lora.rank * shape.layers * (attention + feed_forward) * min(1.0, len(lora.targets) / 7))


def _activation_bytes(shape: ModelShape, settings: LearnerSettings) -> float:
    """What the backward pass of one micro-batch keeps: per token and layer, or per token and one layer."""
    number = 2 if settings.dtype == "bfloat16" else 4
    layer = settings.micro_tokens * (12 * shape.hidden + 4 * shape.feed_forward) * number
    boundaries = settings.micro_tokens * shape.hidden * 4.0 * shape.layers
    return boundaries + layer * (1 if settings.gradient_checkpointing else shape.layers)
