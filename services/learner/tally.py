"""Sums and weighted means gathered over the micro-batches of one update."""

from collections import defaultdict

from torch import Tensor

__all__ = ["Tally"]


class Tally:
    """Names with a sum and, where it is a mean, a weight."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._weights: defaultdict[str, float] = defaultdict(float)

    def add(self, name: str, amount: float) -> None:
        """Add to the sum of `name`."""
        self._sums[name] += amount

    def weigh(self, name: str, weight: float) -> None:
        """Make `name` a mean, and add to what its sum is divided by."""
        self._weights[name] += weight

    def mean(self, name: str, values: Tensor) -> None:
        """Add every value of a tensor to the mean of `name`."""
        self.add(name, float(values.sum()))
        self.weigh(name, values.numel())

    def result(self) -> dict[str, float]:
        """Return sums, and means of what has a weight; a mean without observations is left out."""
        return {
            name: total / self._weights[name] if name in self._weights else total
            for name, total in sorted(self._sums.items())
            if self._weights.get(name, 1) > 0
        }
