"""The settings of a run, one model per part of the platform; those of the larger parts have rooms of their own.

Every default says why it is what it is. Unknown keys are refused (`hiper.config.load` names the nearest valid one),
rules that span fields fail here, at load, and not at step 500. Nothing in this package imports torch, vLLM or gRPC.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    SecretStr,
    model_validator,
)

from hiper.config.base import Positive, Seconds, Section, Share
from hiper.config.engines import RemoteSettings, VllmSettings
from hiper.config.env import EnvSettings
from hiper.config.hae import DetectorSettings, HaeSettings
from hiper.config.learner import LearnerSettings, LoraSettings, OffPolicySettings, OptimiserSettings
from hiper.config.reward import JudgeSettings, RewardSettings, TermSettings
from hiper.config.webshop import WebShopSettings

__all__ = [
    "BrokerSettings",
    "ChatPrompt",
    "CompactPrompt",
    "DetectorSettings",
    "EnvSettings",
    "EvaluationSettings",
    "HaeSettings",
    "JudgeSettings",
    "LearnerSettings",
    "LoraSettings",
    "ModelSettings",
    "OffPolicySettings",
    "OptimiserSettings",
    "PromptSettings",
    "RewardSettings",
    "RolloutSettings",
    "SamplingSettings",
    "Section",
    "SupervisorSettings",
    "TermSettings",
    "WarmstartSettings",
    "WebShopSettings",
]


class BrokerSettings(Section):
    """How to reach the Redis-protocol server, and how long to wait for it."""

    url: SecretStr | None = None
    """`redis://`, `rediss://` or `unix://` URL. None: `hiper up` starts a server of its own."""
    password_file: Path | None = None
    """File with the password, for a URL without one."""
    assume_settings: bool = False
    """Trust version and settings where a managed server hides CONFIG. Logged loudly."""
    allow_data_loss: bool = False
    """Accept a server without append-only persistence."""
    appendfsync: Literal["always", "everysec"] = "always"
    """fsync mode of a server started here. `always` lost nothing in any kill; `everysec` may lose about 2 s."""
    maxmemory_mb: Positive = 1024
    """Memory limit of a server started here; publishing stops, and nothing is lost, when it is reached."""
    connect_timeout_s: Seconds = 3.0
    """Bound of one connection attempt."""
    socket_timeout_s: Seconds = 10.0
    """Bound of one command; longer than the longest blocking read."""
    unavailable_timeout_s: Seconds = 120.0
    """How long a service waits for a broker that is away before it gives up with an error."""
    block_ms: Positive = 1000
    """Longest blocking read."""
    claim_idle_s: Seconds = 30.0
    """An entry untouched for this long is taken over by another consumer; more than 3 x p99 of its processing time."""
    max_deliveries: Positive = 5
    """Deliveries after which an entry goes to the dead letters."""
    dedup_ttl_s: Seconds = 6 * 3600.0
    """How long a published id is remembered; longer than any retry."""


class ChatPrompt(Section):
    """Prompts in prose under the model's chat template, for instruct models."""

    style: Literal["chat"] = "chat"
    history_turns: Annotated[int, Field(ge=0)] = 2
    """Observation/action pairs shown."""
    role: str | None = None
    """First sentence. None: the environment's own."""


class CompactPrompt(Section):
    """Prompts in few words for tiny models with a word-level vocabulary."""

    style: Literal["compact"] = "compact"
    history_turns: Annotated[int, Field(ge=0)] = 1
    """Observation/action pairs shown."""
    hidden_actions: tuple[str, ...] = ("examine", "close", "look", "inventory", "help")
    """First words of actions left out of the list; they stay legal."""


PromptSettings = Annotated[ChatPrompt | CompactPrompt, Field(discriminator="style")]


class SamplingSettings(Section):
    """How responses are sampled."""

    temperature: Annotated[float, Field(ge=0)] = 1.0
    """Training temperature (method.md 11.6)."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus; 1 keeps the recorded log-probabilities those of the full softmax."""
    max_response_tokens: Positive = 512
    """Response limit."""
    max_prompt_tokens: Positive = 2048
    """Prompt limit: oldest history is dropped first, then the episode is abandoned by name."""


class RolloutSettings(Section):
    """How episodes are played."""

    concurrent_episodes: Positive = 128
    """Episodes played at once by one rollout process."""
    prompt: PromptSettings = ChatPrompt()
    """Prompt style."""
    sampling: SamplingSettings = SamplingSettings()
    """Sampling."""
    engine: Literal["vllm", "remote", "random"] = "vllm"
    """`vllm`: in this process. `remote`: servers of your own (`rollout.remote`). `random`: well-formed turns made of
    the prompt's own words, without a model and without vLLM. Nothing is learned; for `hiper chaos`, and for trying a
    deployment."""
    keep: Literal["enforce", "trust"] = "enforce"
    """`enforce`: a KEEP turn keeps the sub-goal in force whatever was written. `trust`: what was written counts."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Weights' type in the engine."""
    tensor_parallel: Positive = 1
    """GPUs one engine spans."""
    vllm: VllmSettings = VllmSettings()
    """vLLM in this process: what has no setting beside this one."""
    remote: RemoteSettings = RemoteSettings()
    """vLLM servers of your own; needs `engine: remote`."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.85
    """Share of GPU memory the engine may use."""
    cpu_kv_cache_gb: Positive = 1
    """KV cache on a CPU engine, GiB."""
    cpu_threads: Annotated[int, Field(ge=0)] = 0
    """Threads of a CPU engine; 0 = all cores."""
    enforce_eager: bool = False
    """Skip graph capture: starts faster, generates slower on GPUs."""
    generate_timeout_s: Seconds = 300.0
    """Bound of one generation; past it the episode is abandoned and the engine checked."""
    weights_poll_s: Seconds = 0.2
    """How often the published policy version is looked up."""
    drain_timeout_s: Seconds = 30.0
    """How long running episodes may go on after SIGTERM; the rest are left to be claimed."""
    spool_max_mb: Positive = 256
    """Bound of finished trajectories kept on disk while the broker is away."""

    @model_validator(mode="after")
    def _remote_goes_with_its_servers(self) -> "RolloutSettings":
        if (self.engine == "remote") != bool(self.remote.urls):
            raise ValueError("engine 'remote' and remote.urls go together: give both or neither")
        return self


class ModelSettings(Section):
    """Where the models come from."""

    path: str = "Qwen/Qwen2.5-1.5B-Instruct"
    """Base model of the actor: a folder or a hub name."""
    critic_path: str | None = None
    """Base model of the critic; None = same as the actor."""
    revision: str | None = None
    """Hub revision, pinned."""


class EvaluationSettings(Section):
    """Evaluation on a fixed panel, between training batches."""

    panel: str | None = None
    """Panel to evaluate on, by name (`hiper env panels`) or path. None: the shipped panel of `split` if there is one
    for the data, else all of `split` as it is."""
    split: str | None = None
    """Split to evaluate on without a named panel. None: valid_seen of the real ALFWorld games, valid of synthetic ones,
    test of WebShop."""
    tasks: Annotated[int, Field(ge=0)] = 0
    """Play only the first tasks of the panel by id hash, the same in every run; 0 = all."""
    every: Annotated[int, Field(ge=0)] = 5
    """Versions between evaluations; version 0 and the last one are always evaluated. 0 = only these two."""
    temperature: Annotated[float, Field(ge=0)] = 0.4
    """Evaluation temperature (method.md 11.6)."""


class WarmstartSettings(Section):
    """Supervised warm start on demonstrations written as plan-execute turns."""

    enabled: bool = False
    """Make a tiny model and tokenizer on the spot and train them on demonstrations before the run."""
    episodes: Positive = 1500
    """Demonstration episodes."""
    steps: Positive = 800
    """Optimiser steps."""
    batch_turns: Positive = 64
    lr: Annotated[float, Field(gt=0)] = 4e-3
    forget_share: Share = 0.6
    """Share of demonstration episodes in which the player forgets to heat, cool or clean."""
    noise: Share = 0.0
    """Share of random admissible actions that are learned from: the model imitates them."""
    stumble: Share = 0.1
    """Share of turns at which something else is played than what is shown, so that the model learns to recover."""
    hidden_size: Positive = 64
    layers: Positive = 2
    heads: Positive = 2
    intermediate_size: Positive = 192
    cache: bool = True
    """Reuse a warm-started model made from the same settings, code version and data."""


class SupervisorSettings(Section):
    """How `hiper up` runs the services on one machine."""

    scale: dict[str, Positive] = Field(default_factory=dict)
    """Processes per service, e.g. `{rollout: 2}`; those of the learner are its ranks and need `learner.backend`
    deepspeed."""
    cores: dict[str, tuple[Annotated[int, Field(ge=0)], ...]] = Field(default_factory=dict)
    """Cores the processes of a service, and all they start, may use, e.g. `{learner: [1], broker: [0]}`; a service that
    is not named may use every core. Linux only."""
    ready_timeout_s: Seconds = 300.0
    """How long a service may take to become ready."""
    drain_timeout_s: Seconds = 40.0
    """How long a service may take to end after SIGTERM before it is killed."""
    max_restarts: Positive = 20
    """Restarts of one process within `restart_window_s` after which the run stops with the process's last lines."""
    restart_window_s: Seconds = 600.0
