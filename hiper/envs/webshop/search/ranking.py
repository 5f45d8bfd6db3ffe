"""The best documents for some terms, without adding up what cannot matter (MaxScore: Turtle and Flood, 1995).

Terms are taken by what they can contribute at most, the largest first. Once all remaining terms together cannot lift a
new document among the best, only documents met so far are looked up in their postings. The result is exact.

Scores are added in float64. The parts are float32, so no order of adding them changes a sum noticeably (they differ by
far less than 2**29 in size); a margin covers what rounding the sums to float32 may turn into ties.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TermPostings", "best_documents"]

_MARGIN = 1 - 2.0**-20
_LOOKED_UP = 16
"""Searching a document in a list takes about as long as passing so many entries of it."""


@dataclass(frozen=True, slots=True)
class TermPostings:
    """A term of the query."""

    documents: NDArray[np.uint32]
    """Which documents hold it, ascending."""
    codes: NDArray[np.unsignedinteger[Any]]
    """What each of them gets, as a place in `parts`."""
    parts: NDArray[np.float32]
    bound: float
    """The most a document gets."""


def best_documents(
    terms: Sequence[TermPostings], documents: int, limit: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Documents and their scores, in no order: the best `limit` of `documents`, all ties of the last one, maybe more.

    Every document among them holds at least one term, and its score is complete.
    """
    terms = sorted(terms, key=lambda term: -term.bound)
    ahead = [*accumulate([term.bound for term in reversed(terms)])][::-1]
    totals = np.zeros(documents)
    threshold = -np.inf
    taken = 0
    for term, rest in zip(terms, ahead, strict=True):
        if rest < threshold * _MARGIN:
            break
        threshold = _raised(threshold, _add(term, totals), limit)
        taken += 1
    rest = ahead[taken] if taken < len(terms) else 0.0
    met = _met(terms[:taken], totals, threshold * _MARGIN - rest)
    for term, rest in zip(terms[taken:], ahead[taken:], strict=True):
        met = met[totals[met] + rest >= threshold * _MARGIN]
        _look_up(term, met, totals)
        threshold = _raised(threshold, totals[met], limit)
    return met, totals[met].astype(np.float32)


def _add(term: TermPostings, totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add a term's parts to its documents, and return what these have then."""
    where = term.documents.astype(np.intp)  # else numpy casts it at every use
    new = totals[where] + term.parts.take(term.codes)
    totals[where] = new
    return new


def _raised(threshold: float, totals: NDArray[np.float64], limit: int) -> float:
    """The `limit`-th best of some totals, if it is above the threshold: that of all documents cannot fall below it."""
    better = totals[totals > threshold]
    if len(better) < limit:
        return threshold
    return float(np.partition(better, len(better) - limit)[-limit])


def _met(terms: Sequence[TermPostings], totals: NDArray[np.float64], lowest: float) -> NDArray[np.intp]:
    """Documents of the terms whose totals reach `lowest`, ascending."""
    if lowest > 0:
        return np.flatnonzero(totals >= lowest)
    # Nothing is ruled out, and a part may have been rounded to 0.
    return np.unique(np.concatenate([np.empty(0, np.intp), *(term.documents for term in terms)]))


def _look_up(term: TermPostings, met: NDArray[np.intp], totals: NDArray[np.float64]) -> None:
    """Complete the totals of the documents met by what they get for a term."""
    if len(met) * _LOOKED_UP > len(term.documents):
        _add(term, totals)
        return
    at = np.minimum(np.searchsorted(term.documents, met.astype(np.uint32)), len(term.documents) - 1)
    held = term.documents[at] == met
    totals[met[held]] += term.parts[term.codes[at[held]]]
