"""Comparison with one's group: what critic-free estimators have for a value function.

A group is a set of numbers that may be compared: the returns of episodes of one task, or what followed one observation.
Groups need not be complete: the statistics are those of the members that came. Degenerate cases, in every estimator:
a member that is alone, or in a group of equal numbers, has advantage 0 exactly.
"""

from enum import StrEnum

import numpy as np

from hiper.advantages.columns import FloatArray, IntArray

__all__ = ["EPSILON", "GroupNorm", "advantage_over", "labels", "mean_of_others", "relative"]

EPSILON = 1e-6
"""Added to a group's standard deviation, as in the published implementations of GRPO and GiGPO."""


class GroupNorm(StrEnum):
    """What a number is divided by once its group's mean is taken off."""

    MEAN_STD = "mean_std"
    """The group's standard deviation (of a sample, n - 1), so that easy and hard tasks weigh the same."""
    MEAN = "mean"
    """Nothing, so that a group of nearly equal numbers stays small (the correction of "Dr. GRPO")."""


def labels(*columns: IntArray) -> IntArray:
    """Number the distinct rows of `columns` from 0: equal rows, and only those, share a number; [n] each."""
    number = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        _, own = np.unique(column, return_inverse=True)
        # Both factors are below n, so the product fits; numbering anew keeps it so.
        _, number = np.unique(number * (own.max(initial=0) + 1) + own, return_inverse=True)
    return number


def relative(values: FloatArray, group: IntArray, norm: GroupNorm) -> FloatArray:
    """Each value less the mean of its group, divided as `norm` says, [n]. `group` is made by `labels`."""
    centred, size = _centred(values, group)
    if norm is GroupNorm.MEAN:
        return centred
    variance = np.bincount(group, centred**2) / np.maximum(size - 1, 1)
    scaled: FloatArray = centred / (np.sqrt(variance) + EPSILON)[group]
    return scaled


def mean_of_others(values: FloatArray, group: IntArray) -> FloatArray:
    """Mean of the group's other members, [n]; NaN for one that is alone."""
    centred, size = _centred(values, group)
    others = (size - 1)[group]
    # Of centred values the others sum to minus one's own.
    distance = np.divide(centred, others, out=np.full(len(values), np.nan), where=others > 0)
    mean: FloatArray = values - centred - distance
    return mean


def advantage_over(values: FloatArray, baseline: FloatArray) -> FloatArray:
    """`values - baseline`, and 0 where there is no baseline (NaN), [n]."""
    return np.where(np.isnan(baseline), 0.0, values - baseline)


def _centred(values: FloatArray, group: IntArray) -> tuple[FloatArray, IntArray]:
    """Each value less its group's mean, [n], exactly 0 among equals; and the size of each group, [groups]."""
    size = np.bincount(group)
    # A member is taken off first: the mean of large, equal values would be off by a rounding error.
    member = np.empty(len(size))
    member[group] = values
    centred = values - member[group]
    return centred - (np.bincount(group, centred) / size)[group], size
