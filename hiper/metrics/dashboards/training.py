"""Training in depth: outcomes, credit per level, the update. Some of its panels open the overview, too."""

from hiper.metrics.dashboards.model import Dashboard, Line, Panel, Row
from hiper.metrics.dashboards.promql import EPISODES, latest, mean, optional, quantile, rate

__all__ = ["ALARMS", "STALENESS", "SUCCESS", "TRAINING"]

_PLAYED = 'rate(hiper_rollout_episodes_total{@,outcome!="abandoned"}' + EPISODES + ")"
_WON = 'rate(hiper_rollout_episodes_total{@,outcome="success"}' + EPISODES + ")"


def _won(by: str = "") -> str:
    """Share of won episodes of those played to an end; 0 while none is won."""
    return f"(sum {by} ({_WON}) or 0 * sum {by} ({_PLAYED})) / sum {by} ({_PLAYED})"


SUCCESS = Panel(
    "Success",
    "Share of won episodes: of the last training batch, and of the last evaluation per panel.",
    [
        Line(latest("hiper_learner_success_ratio"), "training batch"),
        Line(latest("hiper_eval_success_ratio", "split", of="avg"), "evaluation {{split}}"),
    ],
    "percentunit",
)
STALENESS = Panel(
    "Staleness",
    "Policy versions between generation and use of a trajectory. Above learner.max_staleness it is dropped.",
    [
        Line(mean("hiper_learner_staleness_versions"), "mean"),
        # Versions are whole: what a quantile reads between two of them is the upper one.
        Line(f"ceil({quantile(0.95, 'hiper_learner_staleness_versions')})", "p95"),
    ],
)
ALARMS = Panel(
    "Collapse alarms",
    "1 while a known collapse of learning is seen: always KEEP or SWITCH, format or length drift, dead critic heads.",
    [
        Line(latest("hiper_hae_alarm", "kind"), "{{kind}}"),
        Line(latest("hiper_learner_alarm", "kind"), "learner {{kind}}"),
    ],
    bad_above=1,
)

TRAINING = Dashboard(
    "hiper-training",
    "HiPER / Training",
    "Returns, credit per level, and the health of the update.",
    [
        Row(
            "Outcome",
            [
                SUCCESS,
                Panel(
                    "Success by task type",
                    "Share of won episodes of those played to an end within ten minutes.",
                    [Line(_won("by (task_type)"), "{{task_type}}"), Line(_won(), "all")],
                    "percentunit",
                ),
                Panel(
                    "Evaluation by task type",
                    "Success on the panel, last evaluation.",
                    [Line(latest("hiper_eval_success_ratio", "task_type, split"), "{{split}} {{task_type}}")],
                    "percentunit",
                ),
                Panel(
                    "Return",
                    "Mean undiscounted return of the environment per episode, over ten minutes.",
                    [Line(mean("hiper_rollout_episode_return", "env", EPISODES), "{{env}}")],
                ),
                Panel(
                    "Turns per episode",
                    "Mean length of an episode, over ten minutes.",
                    [Line(mean("hiper_rollout_episode_turns", "env", EPISODES), "{{env}}")],
                ),
                Panel(
                    "Version at the last evaluation",
                    "Lags the policy version by at most evaluation.every.",
                    [Line(latest("hiper_eval_policy_version"), "version")],
                    "none",
                ),
            ],
        ),
        Row(
            "Hierarchy",
            [
                Panel(
                    "Segments per episode",
                    "Mean number of sub-goals an episode pursues, and mean turns of one.",
                    [
                        Line(mean("hiper_rollout_subgoals_per_episode", window=EPISODES), "sub-goals"),
                        Line(latest("hiper_hae_segment_turns"), "turns of a segment"),
                        Line(latest("hiper_hae_switches_per_episode"), "switches"),
                    ],
                ),
                Panel(
                    "Decisions",
                    "Share of SWITCH after turn 0; share of KEEP turns that repeat the sub-goal in force. 0 or 1 for "
                    "long is a collapse.",
                    [
                        Line(latest("hiper_hae_switch_rate"), "switch"),
                        Line(latest("hiper_hae_keep_consistency"), "consistent keep"),
                    ],
                    "percentunit",
                ),
                ALARMS,
                Panel(
                    "Advantage, standard deviation",
                    "Per level, before whitening. Near 0: the level gets no signal.",
                    [Line(latest("hiper_hae_advantage", "level", 'stat="std"'), "{{level}}")],
                ),
                Panel(
                    "Advantage, mean",
                    "Per level, before whitening.",
                    [Line(latest("hiper_hae_advantage", "level", 'stat="mean"'), "{{level}}")],
                ),
                Panel(
                    "Explained variance",
                    "Of value targets, per head of the critic, if there is one. Below 0 it is worse than a constant.",
                    [Line(latest("hiper_hae_explained_variance", "level"), "{{level}}")],
                    bad_below=0,
                ),
            ],
        ),
        Row(
            "Update",
            [
                Panel("Loss", "Terms of the loss.", [Line(latest("hiper_learner_loss", "term"), "{{term}}")]),
                Panel(
                    "KL",
                    "Against the policy that generated, and against the reference if the loss has one.",
                    [Line(latest("hiper_learner_kl", "estimator"), "{{estimator}}")],
                ),
                Panel(
                    "Clipped tokens",
                    "Share of tokens whose ratio was clipped; above a third the step is too large.",
                    [Line(latest("hiper_learner_clip_fraction", "side"), "{{side}}")],
                    "percentunit",
                    bad_above=0.33,
                ),
                Panel(
                    "Importance",
                    "Mean ratio of new to old probability, 1 when on-policy. Weights correct for the engine's other "
                    "probabilities, where learner settings ask for them.",
                    [
                        Line(latest("hiper_learner_ratio", "stat"), "ratio {{stat}}"),
                        Line(optional("hiper_learner_importance", "stat"), "weights {{stat}}"),
                    ],
                ),
                Panel(
                    "Entropy",
                    "Mean entropy per token in nats. A fall to 0 ends exploration.",
                    [Line(latest("hiper_learner_entropy"), "entropy")],
                ),
                Panel(
                    "Gradient norm",
                    "Before clipping; a gradient that is not finite skips its step and is counted.",
                    [
                        Line(latest("hiper_learner_grad_norm", "model"), "{{model}}"),
                        Line(rate("hiper_learner_nonfinite_total"), "not finite per second"),
                    ],
                ),
                Panel(
                    "Engine against learner",
                    "Difference of log-probabilities of the same tokens. Large: they run different numbers or weights.",
                    [
                        Line(latest("hiper_learner_logprob_mismatch_kl"), "KL"),
                        Line(quantile(0.99, "hiper_learner_logprob_abs_diff"), "|difference| p99"),
                    ],
                ),
                STALENESS,
                Panel(
                    "Learning rate",
                    "Of each optimiser.",
                    [Line(latest("hiper_learner_learning_rate", "model"), "{{model}}")],
                    "none",
                ),
            ],
        ),
        Row(
            "Cost",
            [
                Panel(
                    "Time per iteration",
                    "Mean seconds of each phase; `wait` is what rollouts and stages behind the learner cost.",
                    [Line(mean("hiper_learner_step_duration_seconds", "phase"), "{{phase}}")],
                    "s",
                    stacked=True,
                ),
                Panel(
                    "Tokens trained per second",
                    "Prompts included: over all time, and within the last update.",
                    [
                        Line(rate("hiper_learner_tokens_total"), "over all time"),
                        Line(optional("hiper_learner_tokens_per_second"), "within an update"),
                    ],
                ),
                Panel(
                    "Utilisation",
                    "Model FLOPs of the last update as a share of the device's peak; 0 where that is not known.",
                    [Line(optional("hiper_learner_mfu_ratio"), "MFU")],
                    "percentunit",
                ),
                Panel(
                    "Peak memory",
                    "Of the last update on a GPU; on a CPU, of the process so far.",
                    [Line(optional("hiper_learner_memory_peak_bytes"), "peak")],
                    "bytes",
                ),
                Panel(
                    "Without a signal",
                    "Share of groups whose samples all return the same (0 where tasks are played once), of malformed "
                    "and clipped responses.",
                    [
                        Line(optional("hiper_hae_zero_variance_groups"), "zero-variance groups"),
                        Line(f"1 - {latest('hiper_hae_valid_rate')}", "malformed"),
                        Line(latest("hiper_hae_clipped_rate"), "clipped"),
                    ],
                    "percentunit",
                ),
                Panel(
                    "Optimiser steps per second",
                    "Of actor and critic.",
                    [Line(rate("hiper_learner_steps_total", "model"), "{{model}}")],
                    "ops",
                ),
                Panel(
                    "Checkpoint",
                    "Size of the last checkpoint and of the last published weights.",
                    [
                        Line(latest("hiper_learner_checkpoint_bytes"), "checkpoint"),
                        Line(latest("hiper_weights_bytes"), "weights"),
                    ],
                    "bytes",
                ),
                Panel(
                    "Since the last checkpoint",
                    "What a crash would cost.",
                    [Line("time() - max(hiper_learner_last_checkpoint_timestamp_seconds{@})", "age")],
                    "s",
                ),
                Panel(
                    "Learner's generation",
                    "Of its lease on the run: every start takes the next one. A staircase: it dies again and again.",
                    [Line(latest("hiper_learner_generation"), "generation")],
                    "none",
                ),
            ],
        ),
    ],
)
