"""The first page: is the run learning, is it flowing, is it healthy?"""

from hiper.metrics.dashboards.model import Dashboard, Line, Panel, Row
from hiper.metrics.dashboards.promql import EPISODES, latest, mean, rate
from hiper.metrics.dashboards.training import ALARMS, STALENESS, SUCCESS

__all__ = ["OVERVIEW"]

OVERVIEW = Dashboard(
    "hiper-overview",
    "HiPER / Overview",
    "Is the run learning, is it flowing, is it healthy?",
    [
        Row(
            "Is it learning?",
            [
                Panel(
                    "Policy version",
                    "Iterations of the optimiser behind the published weights.",
                    [Line(latest("hiper_learner_policy_version"), "version")],
                    "none",
                    "stat",
                    6,
                ),
                Panel(
                    "Success, last batch",
                    "Share of won episodes in the last training batch.",
                    [Line(latest("hiper_learner_success_ratio"), "success")],
                    "percentunit",
                    "stat",
                    6,
                ),
                Panel(
                    "Since the last step",
                    "Time since the optimiser moved. Red after 10 minutes: see HiperLearnerStalled.",
                    [Line("time() - max(hiper_learner_last_step_timestamp_seconds{@})", "age")],
                    "s",
                    "stat",
                    6,
                    bad_above=600,
                ),
                Panel(
                    "Episodes per minute",
                    "Episodes published by all rollouts.",
                    [Line(f"60 * ({rate('hiper_rollout_episodes_total')})", "episodes")],
                    "none",
                    "stat",
                    6,
                ),
                SUCCESS,
                Panel(
                    "Return per episode",
                    "Mean undiscounted return of the environment, over ten minutes.",
                    [Line(mean("hiper_rollout_episode_return", "env", EPISODES), "{{env}}")],
                ),
                ALARMS,
            ],
        ),
        Row(
            "Is it flowing?",
            [
                Panel(
                    "Trajectories per second",
                    "What rollouts publish must equal, over time, what the learner applies and drops.",
                    [
                        Line(rate("hiper_stream_published_total"), "published"),
                        Line(rate("hiper_learner_trajectories_applied_total"), "applied"),
                        Line(rate("hiper_learner_trajectories_dropped_total"), "dropped"),
                    ],
                    "reqps",
                ),
                Panel(
                    "Not delivered yet",
                    "Entries per stream nobody has taken: the stage behind it is the slow one.",
                    [Line(latest("hiper_stream_lag_entries", "stream"), "{{stream}}")],
                ),
                STALENESS,
            ],
        ),
        Row(
            "Is it healthy?",
            [
                Panel(
                    "Processes",
                    "Processes per service that answered the last scrape.",
                    [Line("sum by (component) (up{@})", "{{component}}")],
                    "none",
                ),
                Panel(
                    "Dead letters and conservation",
                    "Both must be 0: entries nobody could process, and trajectories that were lost or doubled.",
                    [
                        Line(latest("hiper_stream_length_entries", labels='stream="dlq"'), "dead letters"),
                        Line(latest("hiper_stream_conservation_gap"), "conservation gap"),
                    ],
                    bad_above=1,
                ),
                Panel(
                    "Memory",
                    "Resident memory per service.",
                    [Line("sum by (component) (process_resident_memory_bytes{@})", "{{component}}")],
                    "bytes",
                    stacked=True,
                ),
                Panel(
                    "Unanswered dependencies",
                    "Processes whose last call to the broker or to the critic was not answered.",
                    [Line("sum by (dependency) (1 - hiper_up_dependencies{@})", "{{dependency}}")],
                    "none",
                    bad_above=1,
                ),
                Panel(
                    "Versions and configurations",
                    "Processes per version and per configuration. Several of one kind for long: an upgrade is stuck.",
                    [
                        Line("count by (version) (hiper_build_info{@})", "version {{version}}"),
                        Line("count by (sha256) (hiper_config_info{@})", "configuration {{sha256}}"),
                    ],
                    "none",
                ),
                Panel(
                    "Spans",
                    "Spans of traces per second, by what became of them; 0 where no collector is named.",
                    [Line(rate("hiper_tracing_spans_total", "result"), "{{result}}")],
                    "ops",
                ),
            ],
        ),
    ],
)
