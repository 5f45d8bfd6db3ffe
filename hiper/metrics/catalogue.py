"""Every metric of the platform, once: name, kind, labels, buckets, meaning.

Base units, `_total` on counters only, labels with few values (never a trajectory or task id): each label is explained
in `LABELS`, with the set its values come from. `docs/metrics.md`, dashboards and alerts are held against this table by
`tests/unit/metrics`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["AREAS", "CATALOGUE", "EXTERNAL", "LABELS", "Kind", "MetricSpec"]

STEP_S = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
WORK_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
EPISODE_S = (1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0)
TURNS = (1, 2, 3, 5, 8, 12, 16, 24, 32, 50, 100)
BYTES = (1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7)
VERSIONS = (0, 1, 2, 3, 4, 6, 8, 12, 16)
NATS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)


class Kind(StrEnum):
    """Prometheus metric types in use."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric. `name` lacks the `hiper_` prefix."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: Sequence[float] = ()


def _c(name: str, text: str, *labels: str) -> MetricSpec:
    return MetricSpec(name, Kind.COUNTER, text, labels)


def _g(name: str, text: str, *labels: str) -> MetricSpec:
    return MetricSpec(name, Kind.GAUGE, text, labels)


def _h(name: str, text: str, buckets: Sequence[float], *labels: str) -> MetricSpec:
    return MetricSpec(name, Kind.HISTOGRAM, text, labels, buckets)


_COMMON = (
    _g("build_info", "Always 1; labels tell what runs.", "version", "component"),
    _g("config_info", "Always 1; the hash of the resolved configuration.", "sha256"),
    _g("up_dependencies", "1 if the dependency answered last time, else 0.", "dependency"),
    _c("tracing_spans_total", "Spans of traces, by what became of them; none of it affects the run.", "result"),
)
_ENV = (
    _h("env_step_duration_seconds", "One step of one session, inside the engine.", STEP_S, "env", "outcome"),
    _h("env_reset_duration_seconds", "One reset, loading the game included.", STEP_S, "env"),
    _h("env_call_duration_seconds", "One gRPC call.", STEP_S, "method"),
    _g("env_sessions", "Live sessions.", "env"),
    _g("env_sessions_max", "Sessions that may live at once.", "env"),
    _c("env_sessions_reaped_total", "Sessions freed because their lease ran out.", "env"),
    _c("env_invalid_actions_total", "Actions that were not admissible.", "env"),
    _c("env_errors_total", "Items answered with an error.", "env", "code"),
)
_ROLLOUT = (
    _c("rollout_episodes_total", "Episodes published.", "env", "task_type", "outcome"),
    _h("rollout_episode_duration_seconds", "From reset to publish.", EPISODE_S, "env"),
    _h("rollout_episode_turns", "Turns of an episode.", TURNS, "env"),
    _h("rollout_episode_return", "Undiscounted environment return.", (0, 0.1, 0.5, 1, 5, 10), "env"),
    _h("rollout_subgoals_per_episode", "Segments of an episode.", TURNS, "env"),
    _c("rollout_subgoal_switches_total", "Turns that switched the sub-goal.", "env"),
    _c("rollout_tokens_total", "Tokens.", "kind"),
    _h("rollout_generate_duration_seconds", "One response.", WORK_S),
    _g("rollout_inflight_episodes", "Episodes being played."),
    _g("rollout_policy_version", "Version of the weights in the engine."),
    _g("rollout_spool_bytes", "Finished trajectories waiting on disk for the broker."),
    _c("rollout_format_errors_total", "Responses with a malformed or missing field.", "field"),
    _c("rollout_prompts_shortened_total", "Prompts that lost history to fit their limit."),
    _c("rollout_responses_clipped_total", "Responses that reached their limit."),
    _c("rollout_env_recoveries_total", "Sessions rebuilt by replay after an env server was lost."),
)
_STREAMS = (
    _c("stream_published_total", "Publishes answered.", "stream", "result"),
    _c("stream_delivered_total", "Entries received.", "stream"),
    _c("stream_acked_total", "Entries acknowledged.", "stream"),
    _c("stream_redelivered_total", "Entries received a second time or more.", "stream"),
    _c("stream_claimed_total", "Entries taken over from another consumer.", "stream"),
    _c("stream_fenced_total", "Hand-offs refused because somebody else had done them.", "stream"),
    _c("stream_dead_lettered_total", "Entries moved to the dead letters.", "stream", "reason"),
    _c("stream_deleted_while_pending_total", "Entries lost to trimming or deletion: must stay 0.", "stream"),
    _g("stream_lag_entries", "Entries not yet delivered, counted by the janitor.", "stream", "group"),
    _g("stream_pending_entries", "Entries delivered and not acknowledged.", "stream", "group"),
    _g("stream_oldest_pending_age_seconds", "Age of the oldest pending entry.", "stream", "group"),
    _g("stream_length_entries", "Length of the stream.", "stream"),
    _h("stream_handoff_duration_seconds", "One atomic hand-off.", STEP_S, "stream"),
    _h("stream_entry_bytes", "Payload of an entry.", BYTES, "stream"),
    _g("stream_conservation_gap", "published - applied - dropped - dead-lettered - in flight: 0 at rest."),
    _g("stream_trajectories", "Trajectories of the whole run, from the broker's own counters.", "state"),
    _g("stream_dropped_trajectories", "Those dropped, of the whole run.", "reason"),
    _c("stream_batches_expired_total", "Batches closed before all their members had come."),
    _g("stream_in_flight", "Trajectories between publish and the checkpoint that holds them."),
)
_BROKER = (
    _c("broker_reconnects_total", "Connections to the broker re-established."),
    _g("broker_memory_bytes", "Memory the broker uses."),
    _g("broker_memory_max_bytes", "Memory it may use; 0 = no limit of its own."),
    _g("broker_aof_bytes", "Size of its append-only file; 0 = it keeps none."),
    _g("broker_persistence_ok", "1 while its last write and its last rewrite of the append-only file succeeded."),
    _g("broker_evicted_keys", "Keys it deleted for want of memory since it started: must stay 0."),
    _g("broker_clients", "Connections it serves."),
    _g("broker_commands_per_second", "Commands it executes, over its last second."),
    _g("broker_uptime_seconds", "Time since it started."),
)
_REWARD_HAE = (
    _h("reward_compute_duration_seconds", "Rewards of one trajectory.", STEP_S),
    _c("reward_trajectories_total", "Trajectories scored.", "result"),
    _h("reward_term_duration_seconds", "One term that is not built in, of one trajectory.", STEP_S, "term"),
    _c("reward_term_failures_total", "Trajectories a term that is not built in failed on.", "term", "reason"),
    _h("hae_batch_duration_seconds", "Values and advantages of one batch.", WORK_S, "phase"),
    _h("hae_batch_members", "Trajectories of a batch.", (1, 8, 16, 32, 64, 128, 256, 512)),
    _c("hae_batches_total", "Batches handed on.", "kind", "result"),
    _c("hae_calls_total", "Calls of ComputeAdvantages, by gRPC code.", "code"),
    _g("hae_advantage", "Advantages of the last batch, before whitening.", "level", "stat"),
    _g("hae_explained_variance", "Of the last batch, at value positions only.", "level"),
    _g("hae_segment_turns", "Mean segment length of the last batch."),
    _g("hae_switches_per_episode", "Mean number of SWITCH decisions after turn 0, last batch."),
    _g("hae_switch_rate", "Share of SWITCH among the decisions after turn 0, last batch."),
    _g("hae_keep_consistency", "Share of KEEP turns that repeat the sub-goal in force, last batch."),
    _g("hae_valid_rate", "Share of turns with a well-formed response, last batch."),
    _g("hae_clipped_rate", "Share of responses that reached their limit, last batch."),
    _g("hae_zero_variance_groups", "Share of groups whose samples all return the same, last batch."),
    _g("hae_alarm", "1 while this process sees a known collapse of learning.", "kind"),
)
_LEARNER = (
    _c("learner_steps_total", "Optimiser steps.", "model"),
    _h("learner_step_duration_seconds", "Phases of an iteration.", WORK_S, "phase"),
    _c("learner_tokens_total", "Tokens trained on, prompts included."),
    _c("learner_trajectories_applied_total", "Trajectories applied."),
    _c("learner_trajectories_dropped_total", "Trajectories dropped.", "reason"),
    _h("learner_staleness_versions", "Versions between generation and use.", VERSIONS),
    _g("learner_loss", "Terms of the loss, last iteration.", "term"),
    _g("learner_kl", "Estimates of KL, last iteration.", "estimator"),
    _g("learner_clip_fraction", "Share of clipped tokens, last iteration.", "side"),
    _g("learner_ratio", "Importance ratio, last iteration.", "stat"),
    _g("learner_grad_norm", "Gradient norm before clipping, last iteration.", "model"),
    _g("learner_entropy", "Mean token entropy in nats, last iteration."),
    _g("learner_learning_rate", "Learning rate.", "model"),
    _g("learner_logprob_mismatch_kl", "KL between the engine's and the learner's log-probabilities."),
    _h("learner_logprob_abs_diff", "Absolute difference of the two, per token.", NATS),
    _g("learner_alarm", "1 while the learner sees something wrong with its batches.", "kind"),
    _g("learner_importance", "Importance weights, last iteration.", "stat"),
    _g("learner_tokens_per_second", "Tokens of the last batch per second of its update."),
    _g("learner_mfu_ratio", "Model FLOPs utilisation of the last update, where the device's peak is known."),
    _g("learner_memory_peak_bytes", "Peak memory of the last update on the GPU; on a CPU, of the process so far."),
    _c("learner_nonfinite_total", "Losses or gradients that were not finite.", "where"),
    _g("learner_policy_version", "Current policy version."),
    _g("learner_success_ratio", "Share of won episodes in the last training batch."),
    _g("learner_last_step_timestamp_seconds", "Unix time of the last optimiser step."),
    _g("learner_last_checkpoint_timestamp_seconds", "Unix time of the last checkpoint."),
    _g("learner_checkpoint_bytes", "Size of the last checkpoint."),
    _g("learner_generation", "Generation of the learner's lease."),
    _c("critic_queries_total", "Turns whose values were read."),
)
_WEIGHTS_EVAL = (
    _h("weights_publish_duration_seconds", "Writing and announcing a version.", WORK_S),
    _h("weights_load_duration_seconds", "Phases of taking a version into the engine.", WORK_S, "phase"),
    _g("weights_version_skew", "Published version minus the engine's."),
    _g("weights_bytes", "Size of the last version."),
    _c("weights_failures_total", "Failed attempts.", "stage"),
    _h("weights_end_to_end_duration_seconds", "From a version's announcement to its serving.", WORK_S),
    _c("weights_received_bytes_total", "Bytes of weights fetched over HTTP.", "source"),
    _c("weights_sent_bytes_total", "Bytes of weights served to others over HTTP."),
    _c("weights_deltas_applied_total", "Versions made of an older one and what changed."),
    _g("eval_success_ratio", "Success on the panel, last evaluation.", "env", "task_type", "split"),
    _g("eval_policy_version", "Version of the last evaluation."),
)

AREAS: Mapping[str, tuple[MetricSpec, ...]] = {
    "Every process": _COMMON,
    "Environments": _ENV,
    "Rollout": _ROLLOUT,
    "Streams": _STREAMS,
    "Broker": _BROKER,
    "Reward and HAE": _REWARD_HAE,
    "Learner": _LEARNER,
    "Weights and evaluation": _WEIGHTS_EVAL,
}
"""Metrics by the part of the platform they tell of."""

CATALOGUE: Mapping[str, MetricSpec] = {spec.name: spec for area in AREAS.values() for spec in area}
"""Metrics by name, without prefix."""

LABELS: Mapping[str, str] = {
    "code": "gRPC status code, by name",
    "component": "service: `env_server`, `rollout`, `reward`, `hae`, `learner`, `control`",
    "dependency": "`broker`, `critic`",
    "env": "environment family: `alfworld`, `webshop`",
    "estimator": "`old` (behaviour policy), `reference`",
    "field": "what is wrong with a response: the values of `FormatError`",
    "group": "consumer group of the stream: `rollout`, `reward`, `hae`, `learner`",
    "kind": "what is counted: tokens `prompt`/`cached`/`response`, batches `train`/`eval`/`unknown`, alarms by name",
    "level": "level of credit: `high`, `low`, `switch`",
    "method": "gRPC method",
    "model": "`actor`, `critic`",
    "outcome": "of an episode: `success`, `lost`, `truncated`, `abandoned`; of a step: `ok`, `invalid`, `end`",
    "phase": "part of a longer work, by name",
    "reason": "why: the values of `DropReason`, `deliveries`/`content` of a dead letter, or a term's kind of failure",
    "result": "of a publish `new`/`deduplicated`; of a batch `handed_on`/`fenced`/`invalid`; else by name",
    "sha256": "first 12 digits of a hash; one value per process",
    "side": "`ppo`, `dual`",
    "source": "who sent it: `learner`, `peer` (another rollout)",
    "split": "panel the tasks come from, as in the configuration",
    "stage": "`fetch`, `delta`, `swap`",
    "stat": "`mean`, `std`; of importance weights `weight`, `effective_share`, `capped_fraction`",
    "state": "`published`, `applied`, `dropped`, `dead_lettered`, `in_flight`",
    "stream": "`tasks`, `traj.raw`, `traj.scored`, `traj.adv`, `dlq`",
    "task_type": "ALFWorld's six task types; WebShop's goal categories",
    "term": "term of the loss or of the reward, as in the configuration",
    "version": "version of this package; one value per process",
    "where": "`actor`, `critic`",
}
"""What the values of each label are. Each is a closed set, or fixed by the configuration of a run."""

EXTERNAL: Mapping[str, str] = {
    "up": "Prometheus: 1 if the last scrape of a target succeeded.",
    "process_resident_memory_bytes": "Client library: memory of a process.",
    "process_cpu_seconds_total": "Client library: processor time of a process.",
    "process_start_time_seconds": "Client library: when a process started, Unix time.",
    "kubelet_volume_stats_available_bytes": "Kubernetes: free space of a volume.",
    "kubelet_volume_stats_capacity_bytes": "Kubernetes: size of a volume.",
}
"""Metrics of others that dashboards and alerts may use, by full name."""
