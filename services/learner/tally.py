"""Sums and weighted means gathered over the micro-batches of one update."""

from collections import defaultdict

import torch
from torch import Tensor

from services.learner.ranks import Ranks

__all__ = ["Tally"]


class Tally:
    """Names with a sum and, where it is a mean, a weight."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._weights: defaultdict[str, float] = defaultdict(float)

    def add(self, name: str, amount: float) -> None:
        """Add to the sum of `name`."""
        self._sums[name] += amount

    def mean(self, name: str, values: Tensor) -> None:
        """Add every value of a tensor to the mean of `name`."""
        self._sums[name] += float(values.sum())
        self._weights[name] += values.numel()

    def over(self, ranks: Ranks) -> "Tally":
        """Return this tally and those of all other ranks, which hold the same names, together."""
        names, means = sorted(self._sums), sorted(self._weights)
        own = [self._sums[name] for name in names] + [self._weights[name] for name in means]
        total = ranks.sum(torch.tensor(own, dtype=torch.float64)).tolist()
        result = Tally()
        result._sums.update(zip(names, total[: len(names)], strict=True))
        result._weights.update(zip(means, total[len(names) :], strict=True))
        return result

    def result(self) -> dict[str, float]:
        """Return sums, and means of what has a weight; a mean without observations is left out."""
        return {
            name: total / self._weights[name] if name in self._weights else total
            for name, total in sorted(self._sums.items())
            if self._weights.get(name, 1) > 0
        }
