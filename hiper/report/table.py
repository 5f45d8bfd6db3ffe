"""The report in a few lines for a terminal."""

from typing import Any

__all__ = ["summary_lines"]


def summary_lines(report: dict[str, Any]) -> list[str]:
    """Return the summary of a report, one text per line."""
    lines = [f"run {report['run']}, seed {report['seed']}: {_ending(report)}"]
    evaluation = report["evaluation"]
    if evaluation:
        before, after, difference = evaluation["before"], evaluation["after"], evaluation["difference"]
        lines += [
            "",
            f"success on the fixed panel of {after['expected']} held-out tasks ({evaluation['split']})",
            f"  {report['panels']['evaluation']}, sha256 {report['panels']['evaluation_sha256'][:16]}",
            f"  {'':34}{'before':>8}{'after':>8}",
            f"  {'all':34}{before['success']:8.1%}{after['success']:8.1%}"
            f"   difference {difference['success']:+.1%}, "
            f"95 % interval {difference['low']:+.1%} to {difference['high']:+.1%}",
        ]
        for kind, row in after["by_task_type"].items():
            first = before["by_task_type"].get(kind, {"success": 0.0})
            lines.append(f"  {kind:34}{first['success']:8.1%}{row['success']:8.1%}   {row['won']} of {row['played']}")
        lines += _score(before, after)
    lines += ["", _trajectories(report), *_speed(report)]
    restarts = {name: count for name, count in report["restarts"].items() if count}
    if restarts:
        lines.append("restarts: " + ", ".join(f"{name} {count}" for name, count in restarts.items()))
    return lines


def _score(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The environment's own score, where it says more than success does."""
    first, last, ceiling = before.get("mean_score"), after.get("mean_score"), after.get("ceiling")
    if first is None or last is None or (first, last, ceiling) == (before["success"], after["success"], None):
        return []
    best = "" if ceiling is None else f"   best there is: {ceiling:.3f}"
    return [f"  {'mean score':34}{first:8.3f}{last:8.3f}{best}"]


def _ending(report: dict[str, Any]) -> str:
    versions = f"{report['policy_versions']} policy versions in {report['seconds'] / 60:.1f} minutes"
    return f"{versions}, complete" if report["complete"] else f"{versions}, NOT complete {report['error']}".rstrip()


def _trajectories(report: dict[str, Any]) -> str:
    counts, gap = report["trajectories"], report["conservation_gap"]
    if not counts:
        return "trajectories: not measured"
    dropped = ", ".join(f"{reason} {number}" for reason, number in counts["dropped"].items()) or "0"
    law = "every one accounted for" if gap == 0 else f"CONSERVATION GAP {gap}"
    return (
        f"trajectories: {counts['published']} published = {counts['applied']} applied + {dropped} dropped + "
        f"{counts['dead_lettered']} dead letters + {counts['in_flight']} in flight: {law}"
    )


def _speed(report: dict[str, Any]) -> list[str]:
    speed = report["throughput"]
    if not speed:
        return []
    phases = report["seconds_by_phase"]
    total = sum(phases.values()) or 1.0
    shares = ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in phases.items() if seconds / total >= 0.005)
    return [
        f"speed: {speed['seconds_per_version']:.1f} s a version, {speed['episodes_per_second']:.1f} episodes/s, "
        f"{speed['turns_per_second']:.0f} turns/s, {speed['sampled_tokens_per_second']:.0f} sampled tokens/s",
        f"learner's time: {shares}",
    ]
