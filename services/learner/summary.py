"""What a training batch looked like, for metrics.jsonl and Prometheus."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.metrics import counter, gauge, histogram
from hiper.vocabulary import StopReason
from services.learner.model import HEADS
from services.learner.rows import TrainRow
from services.learner.state import EvalRecord

__all__ = ["batch_summary", "explained_variance", "export", "export_evaluation"]


def batch_summary(trajectories: Sequence[Trajectory], expected: int) -> dict[str, float]:
    """Return counts and rates over the batch; rates over nothing are 0."""
    turns = [turn for trajectory in trajectories for turn in trajectory.turns]
    keeps = [turn for turn in turns if turn.index > 0 and not turn.is_switch]

    def share(number: int, of: int) -> float:
        return number / of if of else 0.0

    return {
        "trajectories": len(trajectories),
        "expected": expected,
        "turns": len(turns),
        "success": share(sum(t.outcome.won for t in trajectories), len(trajectories)),
        "truncated": share(sum(t.outcome.truncated for t in trajectories), len(trajectories)),
        "turns_mean": share(len(turns), len(trajectories)),
        "env_return": _per(sum(turn.env_reward for turn in turns), len(trajectories)),
        "reward_sum": _per(sum(turn.reward for turn in turns), len(trajectories)),
        "switch_rate": share(sum(turn.is_switch for turn in turns), len(turns)),
        "keep_consistency": share(sum(turn.subgoal_consistent for turn in keeps), len(keeps)),
        "valid_rate": share(sum(turn.valid for turn in turns), len(turns)),
        "admissible_rate": share(sum(turn.action_admissible for turn in turns), len(turns)),
        "clipped_rate": share(sum(turn.stop_reason == StopReason.LENGTH for turn in turns), len(turns)),
        "generate_seconds": sum(t.generate_seconds for t in trajectories),
        "env_seconds": sum(t.env_seconds for t in trajectories),
    }


def explained_variance(rows: Sequence[TrainRow]) -> dict[str, float]:
    """Return, per head and over its value positions, 1 - var(target - value) / var(target) of the values that made the
    advantages; a head whose targets do not vary is left out.
    """
    result = {}
    for index, head in enumerate(HEADS):
        targets = np.array([row.targets[index] for row in rows], dtype=np.float64)
        values = np.array([row.old_values[index] for row in rows], dtype=np.float64)
        known = np.isfinite(targets) & np.isfinite(values)
        variance = targets[known].var() if known.any() else 0.0
        if variance > 0:
            result[f"explained_variance_{head}"] = float(1 - (targets - values)[known].var() / variance)
    return result


def _per(total: float, of: int) -> float:
    """Return total / of, or 0."""
    return total / of if of else 0.0


_GAUGES = {
    "learner_success_ratio": "success",
    "learner_entropy": "entropy",
    "learner_logprob_mismatch_kl": "logprob_mismatch_kl",
    "learner_tokens_per_second": "tokens_per_second",
    "learner_mfu_ratio": "mfu",
    "learner_memory_peak_bytes": "memory_peak_bytes",
}


def export(line: Mapping[str, float]) -> None:
    """Set the gauges of the last iteration."""
    for metric, key in _GAUGES.items():
        if key in line:
            gauge(metric).set(line[key])
    for head in HEADS:
        if f"value_loss_{head}" in line:
            gauge("learner_loss").labels(term=f"value_{head}").set(line[f"value_loss_{head}"])
    if "policy_loss" in line:
        gauge("learner_loss").labels(term="policy").set(line["policy_loss"])
        for estimator in ("old", "reference"):
            if f"kl_{estimator}" in line:
                gauge("learner_kl").labels(estimator=estimator).set(line[f"kl_{estimator}"])
        gauge("learner_ratio").labels(stat="mean").set(line["ratio"])
        gauge("learner_clip_fraction").labels(side="ppo").set(line["clip_fraction"])
        gauge("learner_clip_fraction").labels(side="dual").set(line["dual_clip_fraction"])
    for stat in ("weight", "capped_fraction", "effective_share"):
        if f"importance_{stat}" in line:
            gauge("learner_importance").labels(stat=stat).set(line[f"importance_{stat}"])
    for model in ("actor", "critic"):
        if f"{model}_grad_norm" in line:
            gauge("learner_grad_norm").labels(model=model).set(line[f"{model}_grad_norm"])
    for phase in ("wait", "values", "logprobs", "critic", "actor", "publish"):
        if f"seconds_{phase}" in line:
            histogram("learner_step_duration_seconds").labels(phase=phase).observe(line[f"seconds_{phase}"])
    counter("learner_tokens_total").inc(line.get("tokens", 0))
    gauge("learner_last_step_timestamp_seconds").set(time.time())


def export_evaluation(record: EvalRecord, env: str) -> None:
    """Set the gauges of the last evaluation."""
    gauge("eval_policy_version").set(record.version)
    for kind, played in record.played.items():
        success = record.won.get(kind, 0) / played
        gauge("eval_success_ratio").labels(env=env, task_type=kind, split=record.split).set(success)
