"""How trajectories travel: the pipeline, and the broker under it."""

from hiper.metrics.dashboards.model import Dashboard, Line, Panel, Row
from hiper.metrics.dashboards.promql import latest, mean, quantile, quantile_or_zero, rate

__all__ = ["BROKER", "PIPELINE"]

PIPELINE = Dashboard(
    "hiper-pipeline",
    "HiPER / Pipeline",
    "Lag, hand-offs and losses between the stages.",
    [
        Row(
            "Queues",
            [
                Panel(
                    "Not delivered yet",
                    "Entries nobody has taken: the stage behind the stream is the slow one.",
                    [Line(latest("hiper_stream_lag_entries", "stream"), "{{stream}}")],
                ),
                Panel(
                    "Delivered, not acknowledged",
                    "Entries in somebody's hands. traj.adv holds what the next checkpoint will acknowledge.",
                    [Line(latest("hiper_stream_pending_entries", "stream"), "{{stream}}")],
                ),
                Panel(
                    "Oldest pending",
                    "Age of the oldest entry that was delivered and not acknowledged.",
                    [Line(latest("hiper_stream_oldest_pending_age_seconds", "stream"), "{{stream}}")],
                    "s",
                ),
                Panel(
                    "Length",
                    "Entries of each stream, dead letters included.",
                    [Line(latest("hiper_stream_length_entries", "stream"), "{{stream}}")],
                ),
                Panel(
                    "In flight",
                    "Trajectories between publish and the checkpoint that holds them.",
                    [Line(latest("hiper_stream_in_flight"), "trajectories")],
                ),
                Panel(
                    "Conservation gap",
                    "published - applied - dropped - dead-lettered - in flight. Anything but 0 is a defect.",
                    [Line(latest("hiper_stream_conservation_gap"), "gap")],
                    bad_above=1,
                ),
            ],
        ),
        Row(
            "Throughput",
            [
                Panel(
                    "Published",
                    "Trajectories per second; `deduplicated` are repeats after a crash, recognised.",
                    [Line(rate("hiper_stream_published_total", "result"), "{{result}}")],
                    "reqps",
                ),
                Panel(
                    "Delivered",
                    "Entries received per second.",
                    [Line(rate("hiper_stream_delivered_total", "stream"), "{{stream}}")],
                    "reqps",
                ),
                Panel(
                    "Acknowledged",
                    "Entries per second; the learner's come in bursts, with its checkpoints.",
                    [Line(rate("hiper_stream_acked_total", "stream"), "{{stream}}")],
                    "reqps",
                ),
                Panel(
                    "Repeated work",
                    "Entries received again, taken over from another consumer, or handed on by somebody else first.",
                    [
                        Line(rate("hiper_stream_redelivered_total", "stream"), "redelivered {{stream}}"),
                        Line(rate("hiper_stream_claimed_total", "stream"), "claimed {{stream}}"),
                        Line(rate("hiper_stream_fenced_total", "stream"), "fenced {{stream}}"),
                    ],
                    "reqps",
                ),
                Panel(
                    "Hand-off",
                    "Time of one atomic hand-off.",
                    [
                        Line(quantile(0.5, "hiper_stream_handoff_duration_seconds", "stream"), "{{stream}} median"),
                        Line(quantile(0.99, "hiper_stream_handoff_duration_seconds", "stream"), "{{stream}} p99"),
                    ],
                    "s",
                ),
                Panel(
                    "Entry size",
                    "Payload of an entry.",
                    [
                        Line(quantile(0.5, "hiper_stream_entry_bytes"), "median"),
                        Line(quantile(0.99, "hiper_stream_entry_bytes"), "p99"),
                    ],
                    "bytes",
                ),
            ],
        ),
        Row(
            "Stages",
            [
                Panel(
                    "Reward",
                    "Trajectories scored per second, by what became of them.",
                    [Line(rate("hiper_reward_trajectories_total", "result"), "{{result}}")],
                    "reqps",
                ),
                Panel(
                    "Reward time",
                    "Of one trajectory, all terms together.",
                    [
                        Line(quantile(0.99, "hiper_reward_compute_duration_seconds"), "all terms p99"),
                        Line(mean("hiper_reward_compute_duration_seconds"), "all terms mean"),
                    ],
                    "s",
                ),
                Panel(
                    "Time of your terms",
                    "p99 of one trajectory, for each reward term that is not built in; 0 where there is none.",
                    [Line(quantile_or_zero(0.99, "hiper_reward_term_duration_seconds", "term"), "{{term}}")],
                    "s",
                ),
                Panel(
                    "HAE batches",
                    "Batches handed on per second.",
                    [Line(rate("hiper_hae_batches_total", "kind, result"), "{{kind}} {{result}}")],
                    "reqps",
                ),
                Panel(
                    "HAE time",
                    "Mean time of one batch, by phase; `values` is the critic's.",
                    [Line(mean("hiper_hae_batch_duration_seconds", "phase"), "{{phase}}")],
                    "s",
                    stacked=True,
                ),
                Panel(
                    "Batch size",
                    "Mean number of trajectories of a batch.",
                    [Line(mean("hiper_hae_batch_members"), "members")],
                ),
                Panel(
                    "Critic queries",
                    "Turns per second whose values were read.",
                    [Line(rate("hiper_critic_queries_total"), "turns")],
                    "ops",
                ),
                Panel(
                    "Advantages over gRPC",
                    "Calls of ComputeAdvantages per second, by gRPC code; 0 where nobody calls it.",
                    [Line(rate("hiper_hae_calls_total", "code"), "{{code}}")],
                    "reqps",
                ),
                Panel(
                    "Failing reward terms",
                    "Trajectories per second a term that is not built in failed on.",
                    [Line(rate("hiper_reward_term_failures_total", "term, reason"), "{{term}} {{reason}}")],
                    "reqps",
                ),
            ],
        ),
        Row(
            "Losses",
            [
                Panel(
                    "Dropped",
                    "Trajectories of the whole run that did not reach the optimiser, by reason.",
                    [Line(latest("hiper_stream_dropped_trajectories", "reason"), "{{reason}}")],
                    stacked=True,
                ),
                Panel(
                    "Dead letters",
                    "Entries nobody could process, moved aside per second. `hiper dlq list` shows them.",
                    [Line(rate("hiper_stream_dead_lettered_total", "stream, reason"), "{{stream}} {{reason}}")],
                    "reqps",
                ),
                Panel(
                    "Deleted while pending",
                    "Must stay 0: somebody trims a stream.",
                    [Line(rate("hiper_stream_deleted_while_pending_total", "stream"), "{{stream}}")],
                    "reqps",
                    bad_above=0.0001,
                ),
                Panel(
                    "Where trajectories are",
                    "Of the whole run. Published is the sum of all others.",
                    [Line(latest("hiper_stream_trajectories", "state"), "{{state}}")],
                    width=16,
                ),
                Panel(
                    "Expired batches",
                    "Batches per second closed before all their members had come (hae.group_timeout_s).",
                    [Line(rate("hiper_stream_batches_expired_total"), "batches")],
                    "ops",
                ),
            ],
        ),
    ],
)

BROKER = Dashboard(
    "hiper-redis",
    "HiPER / Broker",
    "Memory, persistence and load of the Redis-protocol server.",
    [
        Row(
            "State",
            [
                Panel(
                    "Writes its log",
                    "1 while the append-only file is written without errors. 0: acknowledged entries may be lost.",
                    [Line(latest("hiper_broker_persistence_ok", of="min"), "persistence")],
                    "none",
                    "stat",
                    6,
                    bad_below=1,
                ),
                Panel(
                    "Evicted keys",
                    "Must stay 0: maxmemory-policy must be noeviction.",
                    [Line(latest("hiper_broker_evicted_keys"), "keys")],
                    "none",
                    "stat",
                    6,
                    bad_above=1,
                ),
                Panel(
                    "Up",
                    "Time since the server started.",
                    [Line(latest("hiper_broker_uptime_seconds", of="min"), "uptime")],
                    "s",
                    "stat",
                    6,
                ),
                Panel(
                    "Services that reach it",
                    "Processes whose last command was answered.",
                    [Line('sum(hiper_up_dependencies{@,dependency="broker"})', "processes")],
                    "none",
                    "stat",
                    6,
                ),
            ],
        ),
        Row(
            "Load",
            [
                Panel(
                    "Memory",
                    "Used, and the limit at which publishing stops until the learner has applied.",
                    [
                        Line(latest("hiper_broker_memory_bytes"), "used"),
                        Line(latest("hiper_broker_memory_max_bytes"), "limit"),
                    ],
                    "bytes",
                ),
                Panel(
                    "Append-only file",
                    "Size on disk; a rewrite makes it small again.",
                    [Line(latest("hiper_broker_aof_bytes"), "file")],
                    "bytes",
                ),
                Panel(
                    "Commands per second",
                    "By its own count.",
                    [Line(latest("hiper_broker_commands_per_second"), "commands")],
                    "ops",
                ),
                Panel(
                    "Connections",
                    "Clients it serves.",
                    [Line(latest("hiper_broker_clients"), "clients")],
                ),
                Panel(
                    "Reconnects",
                    "Connections re-established per second, all services.",
                    [Line(rate("hiper_broker_reconnects_total"), "reconnects")],
                    "ops",
                ),
                Panel(
                    "Entries held",
                    "Per stream; an acknowledged entry is deleted at once.",
                    [Line(latest("hiper_stream_length_entries", "stream"), "{{stream}}")],
                    stacked=True,
                ),
            ],
        ),
    ],
)
