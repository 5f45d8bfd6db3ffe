"""Building, second half: runs become one index, written from its first term to its last.

Runs hold disjoint stretches of documents in order, so the postings of a term are those of the runs one after the other.
"""

import shutil
from array import array
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiper.durable import replace_directory
from hiper.envs.webshop.search.bm25 import saturations
from hiper.envs.webshop.search.documents import Document
from hiper.envs.webshop.search.runs import PAIR_LENGTH, Collection, Run, collect
from hiper.envs.webshop.search.tables import TableWriter, posting_checksum

__all__ = ["build_index"]

_RUN_POSTINGS = 1 << 21
_NAMES_AT_ONCE = 1 << 16

Block = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint64]]
"""Postings of neighbouring terms: term, document and pair of each, by term, then by document."""


def build_index(folder: Path, documents: Iterable[Document], *, run_postings: int = _RUN_POSTINGS) -> None:
    """Write the index of `documents`, which are numbered from 0 as they come, to `folder`, which must not exist.

    Takes some 150 bytes of memory for each of `run_postings` postings, and 70 bytes a document.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        runs = temporary / "runs"
        _write(temporary, collect(documents, runs, run_postings), run_postings)
        shutil.rmtree(runs, ignore_errors=True)
        replace_directory(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(folder: Path, collection: Collection, block_postings: int) -> None:
    searchable = int(np.count_nonzero(collection.lengths))
    average = np.float32(collection.lengths.sum() / searchable if searchable else 1)
    saturated = _saturations(collection.pairs, average)
    with TableWriter(folder, np.min_scalar_type(len(saturated))) as tables:
        tables.append("places", np.argsort(np.argsort(collection.keys, kind="stable")))
        tables.append("saturations", saturated)
        numbers = _merge_vocabularies(collection.runs, tables)
        ends = _posting_ends(collection.runs, numbers)
        tables.append("posting_ends", ends)
        for terms, documents, pairs in _blocks(collection.runs, numbers, ends, block_postings):
            codes = np.searchsorted(collection.pairs, pairs).astype(np.min_scalar_type(len(saturated)))
            starts = np.flatnonzero(np.diff(terms, prepend=np.uint32(~terms[0])))
            tables.append("postings", documents)
            tables.append("codes", codes)
            tables.append("bounds", np.maximum.reduceat(saturated[codes], starts))
            tables.append("checksums", _checksums(documents, codes, starts))
    tables.finish(searchable)


def _saturations(pairs: NDArray[np.uint64], average: np.float32) -> NDArray[np.float32]:
    lengths = pairs & ((np.uint64(1) << PAIR_LENGTH) - np.uint64(1))
    return saturations((pairs >> PAIR_LENGTH).astype(np.uint32), lengths.astype(np.int64), average)


def _checksums(documents: NDArray[Any], codes: NDArray[Any], starts: NDArray[np.intp]) -> NDArray[np.uint32]:
    cuts = pairwise([*starts.tolist(), len(documents)])
    sums = (posting_checksum(documents[start:end], codes[start:end]) for start, end in cuts)
    return np.fromiter(sums, np.uint32, len(starts))


def _merge_vocabularies(runs: tuple[Run, ...], tables: TableWriter) -> list[NDArray[np.uint32]]:
    """Write all terms in order. Of each run: the numbers its terms get."""
    numbers = [array("I") for _ in runs]
    named = (zip(run.terms(), [place] * len(run.term_ends), strict=True) for place, run in enumerate(runs))
    spelled: list[bytes] = []
    end = 0
    lengths = array("Q")
    for number, (term, holders) in enumerate(groupby(merge(*named), key=itemgetter(0))):
        for _, place in holders:
            numbers[place].append(number)
        spelled.append(term)
        end += len(term)
        lengths.append(end)
        if len(spelled) == _NAMES_AT_ONCE:
            tables.append("vocabulary", np.frombuffer(b"".join(spelled), np.uint8))
            spelled.clear()
    tables.append("vocabulary", np.frombuffer(b"".join(spelled), np.uint8))
    tables.append("term_ends", np.asarray(lengths))
    return [np.asarray(of_run) for of_run in numbers]


def _posting_ends(runs: tuple[Run, ...], numbers: list[NDArray[np.uint32]]) -> NDArray[np.uint64]:
    terms = 1 + max((int(of_run[-1]) for of_run in numbers), default=-1)
    frequencies = np.zeros(terms, np.uint64)
    for run, of_run in zip(runs, numbers, strict=True):
        frequencies[of_run] += np.diff(run.posting_ends, prepend=np.uint64(0))
    return np.cumsum(frequencies, dtype=np.uint64)


def _blocks(
    runs: tuple[Run, ...], numbers: list[NDArray[np.uint32]], ends: NDArray[np.uint64], size: int
) -> Iterator[Block]:
    """All postings in their final order, about `size` at a time; a term is never cut."""
    first = 0
    while first < len(ends):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + size, side="right")))
        pieces = [_stretch(run, of_run, first, last) for run, of_run in zip(runs, numbers, strict=True)]
        terms, documents, pairs = (np.concatenate(column) for column in zip(*pieces, strict=True))
        order = np.argsort(terms, kind="stable")
        yield terms[order], documents[order], pairs[order]
        first = last


def _stretch(run: Run, numbers: NDArray[np.uint32], first: int, last: int) -> Block:
    """A run's postings of the terms from `first` to before `last`."""
    start, end = np.searchsorted(numbers, (first, last)).tolist()
    before = int(run.posting_ends[start - 1]) if start else 0
    ends = run.posting_ends[start:end]
    done = int(ends[-1]) if len(ends) else before
    return (
        np.repeat(numbers[start:end], np.diff(ends, prepend=np.uint64(before)).astype(np.intp)),
        run.postings[before:done],
        run.pairs[before:done],
    )
