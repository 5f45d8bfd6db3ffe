"""Where episodes come from: environments, and the engines that serve the policy."""

from hiper.metrics.dashboards.model import Dashboard, Line, Panel, Row
from hiper.metrics.dashboards.promql import latest, mean, quantile, rate, share

__all__ = ["ENVIRONMENTS", "SERVING"]

_ENV = 'env=~"$env"'
_ANSWERS = "hiper_rollout_generate_duration_seconds_count"

ENVIRONMENTS = Dashboard(
    "hiper-env",
    "HiPER / Environments",
    "Sessions, speed and faults of the environment servers.",
    [
        Row(
            "Load",
            [
                Panel(
                    "Sessions",
                    "Live sessions and how many may live at once, all servers together. At the limit rollouts wait.",
                    [
                        Line(latest("hiper_env_sessions", "env", _ENV, "sum"), "{{env}} live"),
                        Line(latest("hiper_env_sessions_max", "env", _ENV, "sum"), "{{env}} limit"),
                    ],
                ),
                Panel(
                    "Steps per second",
                    "Actions played, by what they did.",
                    [Line(rate("hiper_env_step_duration_seconds_count", "outcome", _ENV), "{{outcome}}")],
                    "ops",
                    stacked=True,
                ),
                Panel(
                    "Calls per second",
                    "gRPC calls; each carries up to 256 sessions.",
                    [Line(rate("hiper_env_call_duration_seconds_count", "method"), "{{method}}")],
                    "reqps",
                ),
            ],
        ),
        Row(
            "Speed",
            [
                Panel(
                    "Step",
                    "Time of one step inside the engine.",
                    [
                        Line(quantile(0.5, "hiper_env_step_duration_seconds", "env", _ENV), "{{env}} median"),
                        Line(quantile(0.99, "hiper_env_step_duration_seconds", "env", _ENV), "{{env}} p99"),
                    ],
                    "s",
                ),
                Panel(
                    "Reset",
                    "Time of one reset, loading the game included.",
                    [
                        Line(quantile(0.5, "hiper_env_reset_duration_seconds", "env", _ENV), "{{env}} median"),
                        Line(quantile(0.99, "hiper_env_reset_duration_seconds", "env", _ENV), "{{env}} p99"),
                    ],
                    "s",
                ),
                Panel(
                    "Call",
                    "p99 of a gRPC call, by method.",
                    [Line(quantile(0.99, "hiper_env_call_duration_seconds", "method"), "{{method}}")],
                    "s",
                ),
            ],
        ),
        Row(
            "Faults",
            [
                Panel(
                    "Inadmissible actions",
                    "Per second: what the policy tried and the environment did not offer.",
                    [Line(rate("hiper_env_invalid_actions_total", "env", _ENV), "{{env}}")],
                    "ops",
                ),
                Panel(
                    "Errors",
                    "Items answered with an error, by gRPC code. RESOURCE_EXHAUSTED alone means: full.",
                    [Line(rate("hiper_env_errors_total", "env, code", _ENV), "{{env}} {{code}}")],
                    "ops",
                ),
                Panel(
                    "Reaped sessions",
                    "Sessions whose lease ran out: a rollout went away without closing them.",
                    [Line(rate("hiper_env_sessions_reaped_total", "env", _ENV), "{{env}}")],
                    "ops",
                ),
            ],
        ),
    ],
    by_environment=True,
)

SERVING = Dashboard(
    "hiper-serving",
    "HiPER / Serving",
    "Generation, episodes in play, and the way of new weights into the engines.",
    [
        Row(
            "Generation",
            [
                Panel(
                    "Tokens per second",
                    "Of all engines, prompts and responses.",
                    [Line(rate("hiper_rollout_tokens_total", "kind"), "{{kind}}")],
                ),
                Panel(
                    "Response time",
                    "From request to last token.",
                    [
                        Line(quantile(0.5, "hiper_rollout_generate_duration_seconds"), "median"),
                        Line(quantile(0.99, "hiper_rollout_generate_duration_seconds"), "p99"),
                    ],
                    "s",
                ),
                Panel(
                    "Responses per second",
                    "One per turn.",
                    [Line(rate("hiper_rollout_generate_duration_seconds_count"), "responses")],
                    "reqps",
                ),
                Panel(
                    "Episodes in play",
                    "Per process; at rollout.concurrent_episodes it is busy, at 0 it waits for tasks.",
                    [Line(latest("hiper_rollout_inflight_episodes", "instance"), "{{instance}}")],
                ),
                Panel(
                    "Episodes per second",
                    "By outcome; `abandoned` could not be played to an end.",
                    [Line(rate("hiper_rollout_episodes_total", "outcome"), "{{outcome}}")],
                    "ops",
                    stacked=True,
                ),
                Panel(
                    "Episode time",
                    "From reset to publish.",
                    [
                        Line(quantile(0.5, "hiper_rollout_episode_duration_seconds"), "median"),
                        Line(quantile(0.95, "hiper_rollout_episode_duration_seconds"), "p95"),
                    ],
                    "s",
                ),
            ],
        ),
        Row(
            "Responses",
            [
                Panel(
                    "Malformed",
                    "Responses per second with a field that is missing or wrong.",
                    [Line(rate("hiper_rollout_format_errors_total", "field"), "{{field}}")],
                    "ops",
                ),
                Panel(
                    "Clipped and shortened",
                    "Share of responses cut at their limit, and of prompts that lost history.",
                    [
                        Line(share("hiper_rollout_responses_clipped_total", _ANSWERS), "clipped"),
                        Line(share("hiper_rollout_prompts_shortened_total", _ANSWERS), "shortened"),
                    ],
                    "percentunit",
                ),
                Panel(
                    "Sub-goal switches",
                    "Turns per second that chose a new sub-goal.",
                    [Line(rate("hiper_rollout_subgoal_switches_total", "env"), "{{env}}")],
                    "ops",
                ),
            ],
        ),
        Row(
            "Weights",
            [
                Panel(
                    "Version in the engines",
                    "Per process, beside the learner's. Lines apart for long: an engine cannot load.",
                    [
                        Line(latest("hiper_rollout_policy_version", "instance"), "{{instance}}"),
                        Line(latest("hiper_learner_policy_version"), "published"),
                    ],
                    "none",
                ),
                Panel(
                    "Version skew",
                    "Published version minus the engine's, the worst engine.",
                    [Line(latest("hiper_weights_version_skew"), "skew")],
                    "none",
                ),
                Panel(
                    "Taking weights",
                    "Mean time: fetch while generating, swap while paused; publish is the learner's side.",
                    [
                        Line(mean("hiper_weights_load_duration_seconds", "phase"), "{{phase}}"),
                        Line(mean("hiper_weights_publish_duration_seconds"), "publish"),
                    ],
                    "s",
                ),
                Panel(
                    "From announcement to serving",
                    "Mean time until an engine serves a version that was announced.",
                    [Line(mean("hiper_weights_end_to_end_duration_seconds"), "mean")],
                    "s",
                ),
                Panel(
                    "Weights over HTTP",
                    "Bytes per second fetched, by source, and served; 0 where weights are files.",
                    [
                        Line(rate("hiper_weights_received_bytes_total", "source"), "from {{source}}"),
                        Line(rate("hiper_weights_sent_bytes_total"), "sent"),
                    ],
                    "bytes",
                ),
                Panel(
                    "Deltas applied",
                    "Versions per second made of an older one and what changed.",
                    [Line(rate("hiper_weights_deltas_applied_total"), "deltas")],
                    "ops",
                ),
                Panel(
                    "Failed attempts",
                    "To fetch or to swap weights, per second.",
                    [Line(rate("hiper_weights_failures_total", "stage"), "{{stage}}")],
                    "ops",
                ),
                Panel(
                    "Spool",
                    "Finished trajectories on disk that wait for the broker.",
                    [Line(latest("hiper_rollout_spool_bytes", "instance"), "{{instance}}")],
                    "bytes",
                ),
                Panel(
                    "Recovered sessions",
                    "Sessions rebuilt by replay after an environment server was lost, per second.",
                    [Line(rate("hiper_rollout_env_recoveries_total"), "sessions")],
                    "ops",
                ),
            ],
        ),
    ],
)
