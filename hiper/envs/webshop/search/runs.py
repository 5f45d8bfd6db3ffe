"""Building, first half: documents become runs, each a small inverted index sorted by term, put on the disk.

Memory is bounded by the size of a run, whatever the number of documents; what is kept of all documents is their
length and their key.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiper.envs.webshop.search.analysis import analyze
from hiper.envs.webshop.search.bm25 import quantise_lengths
from hiper.envs.webshop.search.documents import Document

__all__ = ["PAIR_LENGTH", "Collection", "Run", "collect"]

PAIR_LENGTH = np.uint64(32)
"""A pair (count, quantised length) is one number: the count above so many bits of length."""


_READ_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True)
class Run:
    """A sorted part of the index, mapped from the disk."""

    vocabulary: NDArray[np.uint8]
    term_ends: NDArray[np.uint64]
    posting_ends: NDArray[np.uint64]
    postings: NDArray[np.uint32]
    pairs: NDArray[np.uint64]
    """Of each posting: how often the document holds the term, and how long it is (see `PAIR_LENGTH`)."""

    def terms(self) -> Iterator[bytes]:
        """Its terms in UTF-8, sorted."""
        start = 0
        for first in range(0, len(self.term_ends), _READ_AT_ONCE):
            ends = self.term_ends[first : first + _READ_AT_ONCE].tolist()
            spelled, base = self.vocabulary[start : ends[-1]].tobytes(), start
            for end in ends:
                yield spelled[start - base : end - base]
                start = end


@dataclass(frozen=True, slots=True)
class Collection:
    """All documents."""

    runs: tuple[Run, ...]
    pairs: NDArray[np.uint64]
    """Every pair that occurs, sorted."""
    lengths: NDArray[np.int64]
    """Terms of each document."""
    keys: NDArray[np.bytes_]


def collect(documents: Iterable[Document], folder: Path, run_postings: int) -> Collection:
    """Analyse documents into runs of about `run_postings` postings below `folder`."""
    runs: list[Run] = []
    pairs: set[int] = set()
    lengths, keys = array("q"), []
    open_run = _OpenRun()
    for number, document in enumerate(documents):
        counts = Counter(analyze(document.text))
        open_run.add(number, counts)
        lengths.append(counts.total())
        keys.append(document.key.encode())
        if len(open_run) >= run_postings:
            runs.append(open_run.close(folder / str(len(runs)), pairs))
            open_run = _OpenRun()
    if len(open_run):
        runs.append(open_run.close(folder / str(len(runs)), pairs))
    return Collection(
        tuple(runs), np.array(sorted(pairs), np.uint64), np.array(lengths, np.int64), np.array(keys, np.bytes_)
    )


class _OpenRun:
    """A run while it is filled: postings in the order of the documents."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._terms, self._documents = array("I"), array("I")
        self._counts, self._lengths = array("I"), array("Q")

    def __len__(self) -> int:
        return len(self._terms)

    def add(self, document: int, counts: Counter[str]) -> None:
        """Add a document: how often it holds which term."""
        ids = self._ids
        self._terms.extend([ids.setdefault(term, len(ids)) for term in counts])
        self._documents.extend(repeat(document, len(counts)))
        self._counts.extend(counts.values())
        self._lengths.extend(repeat(counts.total(), len(counts)))

    def close(self, folder: Path, pairs: set[int]) -> Run:
        """Sort it by term and put it into `folder`; add the pairs that occur to `pairs`."""
        spelled = sorted((term.encode(errors="surrogatepass"), number) for term, number in self._ids.items())
        place = np.empty(len(spelled), np.uint32)
        place[[number for _, number in spelled]] = np.arange(len(spelled), dtype=np.uint32)
        terms = place[np.asarray(self._terms)]
        order = np.argsort(terms, kind="stable")
        lengths = quantise_lengths(np.asarray(self._lengths).astype(np.int64)).astype(np.uint64)
        held = (np.asarray(self._counts).astype(np.uint64) << PAIR_LENGTH | lengths)[order]
        pairs.update(np.unique(held).tolist())
        folder.mkdir(parents=True)
        return Run(
            vocabulary=_map(folder / "vocabulary", np.frombuffer(b"".join(term for term, _ in spelled), np.uint8)),
            term_ends=_map(folder / "term_ends", np.cumsum([len(term) for term, _ in spelled], dtype=np.uint64)),
            posting_ends=_map(folder / "posting_ends", np.cumsum(np.bincount(terms), dtype=np.uint64)),
            postings=_map(folder / "postings", np.asarray(self._documents)[order]),
            pairs=_map(folder / "pairs", held),
        )


def _map(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    """Move an array to the disk."""
    values.tofile(path)
    return np.memmap(path, values.dtype, "r")
