"""Settings of the learner: the update, what it trains, and on what machinery."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hiper.config.base import Positive, Seconds, Section

__all__ = [
    "BackendSettings",
    "DeepspeedSettings",
    "LearnerSettings",
    "LoraSettings",
    "OffPolicySettings",
    "OptimiserSettings",
    "TorchSettings",
]


class OptimiserSettings(Section):
    """AdamW as in method.md, section 10."""

    lr: Annotated[float, Field(gt=0)]
    """Learning rate, constant."""
    epochs: Positive = 1
    """Passes over a batch."""
    minibatch_rows: Positive = 256
    """Turns per optimiser step."""
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0


class OffPolicySettings(Section):
    """What is done about tokens that another policy sampled than the one being updated.

    Two ratios: that to the proximal policy is clipped (PPO), and the proximal policy's to the behaviour policy, the one
    that sampled, weighs the token (decoupled PPO, arXiv 2110.00641).
    """

    proximal: Literal["recomputed", "behaviour"] = "recomputed"
    """`recomputed`: the learner's weights before the update, as in the paper. `behaviour`: the recorded
    log-probabilities, which saves a forward pass and clips against a policy that may be versions old."""
    importance: Literal["auto", "off", "truncate", "mask"] = "auto"
    """Importance weights: `truncate` caps them, `mask` leaves a token over the cap out of the surrogate. `auto`:
    truncate where `max_staleness` > 0, else off."""
    importance_cap: Annotated[float, Field(ge=1)] = 2.0
    """Largest weight of a token."""
    mismatch_kl_bound: Annotated[float, Field(gt=0)] = 0.01
    """Alarm above this KL, in nats per token, between the engine's log-probabilities and the learner's at the same
    version: healthy runs in bfloat16 stay below .002. Where no token of the batch is of the current version all are
    compared, and the drift of the policy is part of the figure."""


class LoraSettings(Section):
    """Adapters of the actor (LoRA): a small share of the weights is trained, with a tenth of the optimiser's memory,
    and the frozen rest serves as the reference. Needs a higher rate than full training: 1e-5 to 1e-4.
    """

    rank: Positive = 32
    alpha: Annotated[float, Field(gt=0)] = 64.0
    """What an adapter adds is scaled by alpha / rank."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Linear layers that get one, by the last part of their name."""


class TorchSettings(Section):
    """One process, one device."""

    name: Literal["torch"] = "torch"


class DeepspeedSettings(Section):
    """Several processes, started by `torchrun` or `deepspeed`: what ZeRO shares out among them."""

    name: Literal["deepspeed"]
    stage: Literal[1, 2, 3] = 2
    """1: optimiser states; 2: gradients too; 3: weights too, which are then gathered layer by layer."""
    offload: Literal["none", "optimiser", "all"] = "none"
    """What lies in the host's memory: the optimiser's states, or at stage 3 the weights too."""
    collective_timeout_s: Seconds = 3600.0
    """How long a process waits for the others; longer than the longest wait for a batch, in which all but the first
    have nothing to do."""

    @model_validator(mode="after")
    def _has_weights_to_offload(self) -> "DeepspeedSettings":
        if self.offload == "all" and self.stage != 3:
            raise ValueError("offload 'all' needs stage 3: before, every process holds the weights it computes with")
        return self


BackendSettings = Annotated[TorchSettings | DeepspeedSettings, Field(discriminator="name")]


class LearnerSettings(Section):
    """How the policy is updated and how far ahead it may issue tasks."""

    tasks_per_batch: Positive = 128
    """Tasks of one training batch."""
    samples_per_task: Positive = 1
    """Episodes of each task (group size of group-relative estimators)."""
    iterations: Positive = 150
    """Training batches of the run."""
    max_staleness: Annotated[int, Field(ge=0)] = 0
    """Versions tasks may be issued ahead; 0 = synchronous and on-policy, as in the paper."""
    off_policy: OffPolicySettings = OffPolicySettings()
    actor: OptimiserSettings = OptimiserSettings(lr=1e-6)
    critic: OptimiserSettings = OptimiserSettings(lr=1e-5)
    critic_warmup_iterations: Annotated[int, Field(ge=0)] = 0
    """First iterations that train the critic only."""
    backend: BackendSettings = TorchSettings()
    """What trains: `torch`, or `deepspeed` over several processes."""
    lora: LoraSettings | None = None
    """Train adapters of the actor instead of all of it; weights are published merged."""
    gradient_checkpointing: bool = False
    """Keep one activation a layer and compute the rest again: a third more work, a fraction of the memory."""
    micro_tokens: Positive = 16_384
    """Tokens of one forward and backward pass on one device; rows are packed, so none of them is padding."""
    clip_low: Annotated[float, Field(gt=0)] = 0.2
    clip_high: Annotated[float, Field(gt=0)] = 0.2
    dual_clip: Annotated[float, Field(gt=1)] = 3.0
    entropy_coef: Annotated[float, Field(ge=0)] = 0.001
    kl_coef: Annotated[float, Field(ge=0)] = 0.01
    """Weight of the k3 estimator of KL to the reference, in the loss; 0 = no reference model is kept."""
    value_clip: Annotated[float, Field(gt=0)] | None = None
    """Clip of value updates around the old values; None = off. The reference's 0.5 is tight for returns of scale 10."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Type the layers compute in and weights are published in."""
    attention: Literal["packed", "flash_attention_2", "flash_attention_3"] = "packed"
    """`packed`: torch's own kernels, variable-length flash attention on GPUs in bfloat16. The others need their package
    and a GPU."""
    peak_tflops: Annotated[float, Field(gt=0)] | None = None
    """Peak of one device in 10^12 operations/s of `dtype`, for the model's FLOPs utilisation (MFU). None: known for
    common GPUs, and not reported elsewhere."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads; 0 = torch's choice."""
    deterministic: bool = True
    """Deterministic kernels: a resumed run equals the uninterrupted one bit for bit on CPU."""
    checkpoint_every: Positive = 1
    """Iterations between checkpoints; also the acknowledgement batch, so it bounds what a crash repeats."""
    adopt_checkpoint: bool = False
    """Go on from the newest checkpoint although the broker's data is another run's: what was in flight is gone."""
    keep_checkpoints: Positive = 3
    keep_weights: Positive = 4
    """Published weight versions kept on disk."""
    lease_ttl_s: Seconds = 6.0
    """A learner that does not renew its lease for this long may be replaced."""
    critic_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of the critic service; 0 = any. Filled in by `hiper up`."""
    when_done: Literal["exit", "idle"] = "exit"
    """What the learner does once the run is at its end: `exit` with 0, or stay up without a model, ready and doing
    nothing, for those who start again whatever exits. The chart sets `idle`; under `hiper up` it exits."""
    batch_timeout_s: Seconds = 1800.0
    """A batch that does not arrive for this long is reported as a stall, with what is missing."""

    @property
    def importance(self) -> Literal["off", "truncate", "mask"]:
        """What is done with importance weights, `auto` resolved."""
        chosen = self.off_policy.importance
        if chosen != "auto":
            return chosen
        return "truncate" if self.max_staleness and self.off_policy.proximal == "recomputed" else "off"

    @model_validator(mode="after")
    def _processes_outlast_a_wait(self) -> "LearnerSettings":
        if isinstance(self.backend, DeepspeedSettings) and self.backend.collective_timeout_s <= self.batch_timeout_s:
            raise ValueError("backend.collective_timeout_s must be longer than batch_timeout_s")
        return self

    @model_validator(mode="after")
    def _weights_have_two_policies(self) -> "LearnerSettings":
        off_policy = self.off_policy
        if off_policy.proximal == "behaviour" and off_policy.importance not in ("auto", "off"):
            raise ValueError(
                f"off_policy.importance '{off_policy.importance}' weighs the proximal policy against the one that "
                "sampled, and off_policy.proximal 'behaviour' makes them the same; set one of the two back"
            )
        return self
