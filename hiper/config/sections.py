"""The settings of a run, one model per part of the platform.

Every default says why it is what it is. Unknown keys are refused (`hiper.config.load` names the nearest valid one),
rules that span fields fail here, at load, and not at step 500. Nothing in this package imports torch, vLLM or gRPC.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    FiniteFloat,
    JsonValue,
    SecretStr,
    field_validator,
    model_validator,
)

from hiper.config.base import Positive, Seconds, Section, Share
from hiper.config.engines import RemoteSettings, VllmSettings
from hiper.config.estimators import EstimatorSettings, HaeEstimator
from hiper.config.learner import LearnerSettings, LoraSettings, OffPolicySettings, OptimiserSettings
from hiper.config.webshop import WebShopSettings
from hiper.vocabulary import EnvName, ShapingTerm

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


def _known_or_own(name: str) -> str:
    if name in tuple(EnvName) or re.fullmatch(r"entry-point:[\w.-]+|[\w.]+:[\w.]+", name):
        return name
    ways = f"{', '.join(EnvName)}, or one of your own as package.module:name or entry-point:name"
    raise ValueError(f"there is no environment {name!r}: use one of {ways}")


class EnvSettings(Section):
    """Which tasks are played, and how the env service hosts them."""

    name: Annotated[str, AfterValidator(_known_or_own)] = EnvName.ALFWORLD.value
    """`alfworld`, `webshop`, or an environment of your own (docs/environments.md): `package.module:name`, importable by
    the env servers, or `entry-point:name`, which an installed package offers in the group `hiper.environments`."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Keyword arguments of an environment of your own."""
    data: Path | None = None
    """Folder or archive with the real games. None: synthetic games. Your own environment gets it as option `data`."""
    synthetic_preset: str = "demo"
    """Which synthetic ALFWorld games: `demo`, a number of receptacles (3-60), or `horizon-<k>` for chains of k
    sub-tasks."""
    synthetic_train: Positive = 2000
    """Synthetic ALFWorld training games."""
    synthetic_valid: Positive = 128
    """Synthetic held-out tasks, disjoint from training: games by seed and content, WebShop goals by product."""
    webshop: WebShopSettings = WebShopSettings()
    """What only WebShop has."""
    train_split: str = "train"
    """Split training tasks are drawn from, held against the shipped panel of that data where there is one."""
    train_panel: str | None = None
    """Panel to train on, by name or path. None: what the evaluation's panel says to train on, else `train_split`."""
    task_types: tuple[str, ...] = ()
    """Restrict training and evaluation to these task types; empty = all."""
    max_steps: Positive = 50
    """Step limit of an episode; reaching it truncates. Where `synthetic_preset` is `horizon-<k>` the default is 50k."""
    addresses: tuple[str, ...] = ()
    """Addresses of env servers: `host:port`, `host:first-last` or `dns:///host:port`. Filled in by `hiper up`."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes of one `hiper env serve`, on a port each; 0 = one for each processor it may use. `hiper up` and pods
    run one each and scale by their number."""
    max_sessions: Positive = 4096
    """Live sessions per process; more are refused with RESOURCE_EXHAUSTED."""
    cache_mb: Positive = 384
    """Parsed ALFWorld games kept by one `hiper env serve`, in MiB of their files, divided among its processes. The
    default has room for all 4,027 (344 MiB, half of that in memory); those beyond it are parsed again, 2 ms each."""
    max_items: Annotated[int, Field(gt=0, le=256)] = 256
    """Items per batched call."""
    lease_s: Seconds = 120.0
    """A session untouched for this long is freed."""
    reset_timeout_s: Seconds = 30.0
    """Deadline of a reset call."""
    step_timeout_s: Seconds = 10.0
    """Deadline of a step call."""
    unavailable_timeout_s: Seconds = 120.0
    """How long a rollout keeps retrying a lost env server before it abandons the episode."""

    @property
    def is_built_in(self) -> bool:
        """Whether the environment is one of this package's."""
        return self.name in tuple(EnvName)

    @property
    def horizon(self) -> int:
        """Sub-tasks chained in every synthetic game; 0 = the games are no chains."""
        return _horizon_of(self.synthetic_preset)

    @model_validator(mode="before")
    @classmethod
    def _scale_step_limit(cls, values: JsonValue) -> JsonValue:
        if isinstance(values, dict) and "max_steps" not in values:
            horizon = _horizon_of(values.get("synthetic_preset"))
            return {**values, "max_steps": 50 * horizon} if horizon else values
        return values

    @model_validator(mode="after")
    def _options_are_your_own(self) -> "EnvSettings":
        if self.options and self.is_built_in:
            raise ValueError(f"options: {self.name} takes none; they are for environments of your own")
        return self


def _horizon_of(preset: object) -> int:
    found = re.fullmatch(r"horizon-([1-9]\d*)", preset) if isinstance(preset, str) else None
    return int(found[1]) if found else 0


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


class JudgeSettings(Section):
    """A judge behind HTTP: one POST per trajectory (docs/rewards.md has the two messages)."""

    url: Annotated[str, Field(pattern=r"^https?://[^/@\s]+(/\S*)?$")]
    """Where it listens; no credentials in it."""
    token_env: str | None = None
    """Name of the environment variable that holds its bearer token."""
    token_file: Path | None = None
    """File that holds its bearer token; read again when it changes."""
    attempt_timeout_s: Seconds = 10.0
    """Bound of one attempt; below the term's `timeout_s`, or there is time for none but the first."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Attempts after the first, when it does not answer or answers 429 or 5xx."""
    concurrency: Positive = 8
    """Requests at once."""

    @model_validator(mode="after")
    def _one_token(self) -> "JudgeSettings":
        if self.token_env is not None and self.token_file is not None:
            raise ValueError("give token_env or token_file, not both")
        return self


class TermSettings(Section):
    """A reward term that is not built in: exactly one of `path`, `entry_point` and `judge`."""

    path: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")] | None = None
    """`package.module:function`, importable by the reward service."""
    entry_point: str | None = None
    """Name of an entry point of the group `hiper.reward_terms`, as an installed package offers it."""
    judge: JudgeSettings | None = None
    """A judge over HTTP."""
    weight: FiniteFloat = 1.0
    """Factor of what the term returns."""
    timeout_s: Seconds = 30.0
    """Deadline of the term for one trajectory, retries included."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Keyword arguments of the function; for a judge, part of its request."""

    @model_validator(mode="after")
    def _one_source(self) -> "TermSettings":
        if sum(source is not None for source in (self.path, self.entry_point, self.judge)) != 1:
            raise ValueError("give exactly one of path, entry_point and judge")
        return self


TermName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]


class RewardSettings(Section):
    """Terms of the per-turn reward (method.md, section 7). Scale the penalties with `success`."""

    success: FiniteFloat = 10.0
    """Reward of the winning turn."""
    invalid_output: Annotated[FiniteFloat, Field(ge=0)] = 0.1
    """Taken off a turn whose output is malformed."""
    inadmissible_action: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """Taken off a turn whose action was not admissible. Not in the paper; tiny models need it."""
    keep_penalty: Annotated[FiniteFloat, Field(le=0)] = -0.3
    """Added on KEEP turns, <= 0."""
    keep_penalty_mode: Literal["fixed", "normalized"] = "normalized"
    """`fixed`: every KEEP turn; `normalized`: divided by the number of turns, trajectories of one turn exempt."""
    consistency: Annotated[FiniteFloat, Field(le=0)] = -0.3
    """Added on a KEEP turn that writes another sub-goal than the one in force, <= 0."""
    terms: dict[TermName, TermSettings] = Field(default_factory=dict)
    """Terms of your own, by name."""
    term_threads: Positive = 8
    """Terms that are not async and run at once."""

    @field_validator("terms")
    @classmethod
    def _names_are_free(cls, terms: dict[str, TermSettings]) -> dict[str, TermSettings]:
        taken = set(terms) & set(ShapingTerm)
        if taken:
            raise ValueError(f"'{min(taken)}' is the name of a built-in term; choose another one")
        return terms


class DetectorSettings(Section):
    """When the figures of a batch raise an alarm (method.md, sections 15 and 17). Limits count as past."""

    patience: Positive = 3
    """Batches in a row after which an alarm begins, and after which it ends."""
    always_keep: Share = 0.02
    """Share of decisions for SWITCH, turn 0 left out, below which the policy always keeps."""
    always_switch: Share = 0.98
    """The same share above which it always switches."""
    keep_consistency: Share = 0.5
    """Share of KEEP turns that repeat the sub-goal in force, from below."""
    valid_rate: Share = 0.5
    """Share of well-formed responses, from below. Healthy runs of the reference stay above .9."""
    clipped_rate: Share = 0.25
    """Share of responses that reach their limit, from above. Healthy runs have none, sick ones up to 3 in 4."""
    zero_variance_groups: Share = 0.95
    """Share of groups whose samples all return the same, from above."""
    explained_variance: FiniteFloat = -1.0
    """Of each head of the critic, from below; 0 is as good as a constant."""


class HaeSettings(Section):
    """How advantages are computed."""

    estimator: EstimatorSettings = HaeEstimator()
    """Estimator and its parameters."""
    whiten: bool | None = None
    """Normalise each level over the turns of the batch that own a token of it. None: yes, where the estimator has no
    normalisation of its own."""
    critic_address: str | None = None
    """Address of the critic service (`host:port`). Filled in by `hiper up`."""
    critic_timeout_s: Seconds = 60.0
    """Deadline of one value call; the learner answers between micro-batches."""
    critic_unavailable_timeout_s: Seconds = 300.0
    """How long to keep asking a critic that is away, e.g. while the learner restarts."""
    group_timeout_s: Seconds = 600.0
    """Age at which an incomplete batch is handed on with the members it has."""
    detectors: DetectorSettings = DetectorSettings()
    """When to raise an alarm."""

    @field_validator("estimator", mode="before")
    @classmethod
    def _has_its_values(cls, chosen: object) -> object:
        if isinstance(chosen, dict) and chosen.get("name") == "ppo_token":
            raise ValueError(
                "'ppo_token' needs a value at every token, and no service reads or carries them; "
                "'gae' is PPO per turn, and `hiper.advantages.ppo_token` computes it on arrays"
            )
        return chosen

    @model_validator(mode="after")
    def _whitens_what_can_be(self) -> "HaeSettings":
        if self.whiten is not None and not self.estimator.can_whiten:
            raise ValueError(f"whiten: '{self.estimator.name}' has a normalisation of its own; leave it out")
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
    """Processes per service, e.g. `{rollout: 2}`."""
    ready_timeout_s: Seconds = 300.0
    """How long a service may take to become ready."""
    drain_timeout_s: Seconds = 40.0
    """How long a service may take to end after SIGTERM before it is killed."""
    max_restarts: Positive = 20
    """Restarts of one process within `restart_window_s` after which the run stops with the process's last lines."""
    restart_window_s: Seconds = 600.0
