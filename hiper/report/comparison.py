"""Two evaluations of the same tasks, paired: who won which, and the difference with its interval."""

from typing import Any

from hiper.errors import DataError
from hiper.report.evaluation import Evaluation
from hiper.statistics import mean_interval, paired_difference_interval

__all__ = ["compare", "comparison_lines"]


def compare(before: Evaluation, after: Evaluation) -> dict[str, Any]:
    """The difference `after - before` over the tasks that both played to an end. Raises `DataError` without any."""
    ours = {episode.key: episode for episode in after.episodes.values() if not episode.abandoned}
    theirs = {episode.key: episode for episode in before.episodes.values() if not episode.abandoned}
    pairs = [(theirs[key], ours[key]) for key in sorted(ours.keys() & theirs.keys())]
    if not pairs:
        names = f"{after.conditions.panel['name']} and {before.conditions.panel['name']}"
        raise DataError(f"there is nothing to compare: no task of {names} was played in both", "use the same --panel")
    both = sum(one.won and other.won for one, other in pairs)
    only_before = sum(one.won and not other.won for one, other in pairs)
    only_after = sum(other.won and not one.won for one, other in pairs)
    counts = (both, only_before, only_after, len(pairs) - both - only_before - only_after)
    low, high = paired_difference_interval(*counts)
    scores = [other.score - one.score for one, other in pairs]
    score_low, score_high = mean_interval(scores)
    there, here = before.conditions.settings, after.conditions.settings
    return {
        "against": dict(before.conditions.model),
        "tasks": len(pairs),
        "left_out": len(ours) + len(theirs) - 2 * len(pairs),
        "other_settings": sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name)),
        "won": dict(zip(("both", "only_against", "only_this", "neither"), counts, strict=True)),
        "success": (only_after - only_before) / len(pairs),
        "low": low,
        "high": high,
        "mean_score": sum(scores) / len(pairs),
        "score_low": max(-1.0, score_low),
        "score_high": min(1.0, score_high),
    }


def comparison_lines(comparison: dict[str, Any]) -> list[str]:
    """The comparison in a few lines for a terminal."""
    won, model = comparison["won"], comparison["against"]
    version = "" if model["version"] is None else f", version {model['version']}"
    lines = [
        "",
        f"against {model['path']}{version}, on the {comparison['tasks']} tasks both played",
        f"  success {comparison['success']:+.1%}, 95 % interval {comparison['low']:+.1%} to {comparison['high']:+.1%}",
        f"  mean score {comparison['mean_score']:+.3f}, 95 % interval {comparison['score_low']:+.3f} to "
        f"{comparison['score_high']:+.3f}",
        f"  won by both {won['both']}, by this one only {won['only_this']}, by the other only {won['only_against']}, "
        f"by neither {won['neither']}",
    ]
    if comparison["left_out"]:
        lines.append(f"  episodes without a partner, left out: {comparison['left_out']}")
    if comparison["other_settings"]:
        lines.append(f"  OTHER SETTINGS: {', '.join(comparison['other_settings'])}")
    return lines
