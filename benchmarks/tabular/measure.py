"""Means and covariances of sampled gradients, and whether a mean differs from what it should be.

A sample is the mean gradient of one group of episodes: groups are independent of one another, while the episodes of a
group are not once an estimator compares them.
"""

import math
from typing import NamedTuple

import numpy as np

from benchmarks.tabular.problem import PARAMETERS, FloatArray

__all__ = ["Distance", "Moments"]


class Distance(NamedTuple):
    """How far the true mean is from a vector, judged from a sample mean."""

    norm: float
    """Length of the difference, with the length that noise alone would give taken off (in squares); 0 if none is
    left."""
    z: float
    """Squared length less its expectation under "there is no difference", in its standard deviations there (the
    one-sample test of Chen and Qin 2010): roughly standard normal if there is none."""


class Moments:
    """Running sum and sum of products of samples of PARAMETERS numbers."""

    def __init__(self) -> None:
        self.samples = 0
        self._total = np.zeros(PARAMETERS)
        self._products = np.zeros((PARAMETERS, PARAMETERS))

    def add(self, samples: FloatArray) -> None:
        """Count `samples`, [n, PARAMETERS]."""
        self.samples += len(samples)
        self._total += samples.sum(0)
        self._products += samples.T @ samples

    @property
    def mean(self) -> FloatArray:
        """[PARAMETERS]"""
        return self._total / self.samples

    @property
    def covariance(self) -> FloatArray:
        """Of one sample, [PARAMETERS, PARAMETERS]."""
        return (self._products - np.outer(self.mean, self._total)) / (self.samples - 1)

    def distance_to(self, vector: FloatArray) -> Distance:
        """How far the true mean is from `vector`, [PARAMETERS]."""
        difference, covariance = self.mean - vector, self.covariance
        squared, by_noise = float(difference @ difference), float(np.trace(covariance)) / self.samples
        deviation = math.sqrt(2 * float((covariance * covariance).sum())) / self.samples
        if deviation == 0.0:
            return Distance(math.sqrt(squared), math.inf if squared > 0 else 0.0)
        return Distance(math.sqrt(max(0.0, squared - by_noise)), (squared - by_noise) / deviation)

    def scale_of(self, vector: FloatArray) -> float:
        """The factor c for which c times `vector` is nearest to the mean."""
        return float(self.mean @ vector / (vector @ vector))
