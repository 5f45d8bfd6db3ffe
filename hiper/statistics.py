"""The few statistics that reports and records share."""

import math

__all__ = ["difference_interval", "wilson_interval"]

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
