"""The few statistics that reports and records share."""

import math
from collections.abc import Sequence

__all__ = [
    "difference_interval",
    "mean_interval",
    "paired_difference_interval",
    "success_row",
    "wilson_interval",
]

_Z95 = 1.959963984540054


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a success rate; (0, 1) without trials.

    Unlike the plain normal interval it stays inside [0, 1] and is right near 0 and 1, where evaluations begin and end.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    if trials == 0:
        return 0.0, 1.0
    rate, z2 = successes / trials, _Z95**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z95 * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def difference_interval(won_before: int, of_before: int, won_after: int, of_after: int) -> tuple[float, float]:
    """Return the 95 % interval of `after - before` for two independent success rates (Newcombe's hybrid score)."""
    before_low, before_high = wilson_interval(won_before, of_before)
    after_low, after_high = wilson_interval(won_after, of_after)
    before = won_before / of_before if of_before else 0.5
    after = won_after / of_after if of_after else 0.5
    difference = after - before
    low = difference - math.hypot(after - after_low, before_high - before)
    high = difference + math.hypot(after_high - after, before - before_low)
    return max(-1.0, low), min(1.0, high)


def paired_difference_interval(both: int, only_before: int, only_after: int, neither: int) -> tuple[float, float]:
    """Return the 95 % interval of `after - before` for two success rates on the same tasks, counted by who won them.

    Newcombe (1998), method 10: Wilson intervals of either rate, joined by their correlation. (-1, 1) without tasks.
    """
    trials = both + only_before + only_after + neither
    if trials == 0:
        return -1.0, 1.0
    won_before, won_after = both + only_before, both + only_after
    before, after = won_before / trials, won_after / trials
    before_low, before_high = wilson_interval(won_before, trials)
    after_low, after_high = wilson_interval(won_after, trials)
    agreement = _agreement(both, only_before, only_after, neither)

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * agreement * one * other + other**2))

    low = after - before - reach(after - after_low, before_high - before)
    high = after - before + reach(after_high - after, before - before_low)
    return max(-1.0, low), min(1.0, high)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % normal interval of the mean of `values`; without a spread to judge by, all there is."""
    count = len(values)
    if count < 2:
        return -math.inf, math.inf
    mean = sum(values) / count
    half = _Z95 * math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1) / count)
    return mean - half, mean + half


def success_row(won: int, played: int) -> dict[str, int | float]:
    """Return a success rate as reports write it: counts, rate and 95 % Wilson interval."""
    low, high = wilson_interval(won, played)
    return {"won": won, "played": played, "success": won / played if played else 0.0, "low": low, "high": high}


def _agreement(both: int, only_before: int, only_after: int, neither: int) -> float:
    """Phi of a 2x2 table, corrected towards 0 where it is positive, as method 10 wants it."""
    margins = (both + only_before, only_after + neither, both + only_after, only_before + neither)
    if not all(margins):
        return 0.0
    product = float(both * neither - only_before * only_after)
    if product > 0:
        product = max(0.0, product - sum(margins) / 4)
    return product / math.sqrt(math.prod(margins))
