"""The search index of a catalogue: Lucene's ranking, exactly (spec 2.6).

Invariants:
- The same documents and query give the same hits in the same order, in memory or mapped, on every machine.
- Nothing is written after it is built: threads share an index, processes share the pages of a mapped one.
"""

import tempfile
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hiper.envs.webshop.search.analysis import analyze
from hiper.envs.webshop.search.bm25 import idf
from hiper.envs.webshop.search.documents import Document
from hiper.envs.webshop.search.merging import build_index
from hiper.envs.webshop.search.ranking import TermPostings, best_documents
from hiper.envs.webshop.search.tables import Tables, load_tables, posting_checksum
from hiper.errors import IntegrityError

__all__ = ["Hit", "SearchIndex"]


class Hit(NamedTuple):
    """A document found."""

    document: int
    score: float


class SearchIndex:
    """Documents, numbered from 0 in the order they were given."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._checked: set[int] = set()

    @classmethod
    def build(cls, documents: Iterable[Document]) -> Self:
        """An index in memory."""
        with tempfile.TemporaryDirectory(prefix="hiper-search-") as folder:
            build_index(Path(folder) / "index", documents)
            return cls(load_tables(Path(folder) / "index", mapped=False))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map what `build_index` wrote. Raises `IntegrityError` when it is damaged."""
        return cls(load_tables(folder, mapped=True))

    def __len__(self) -> int:
        return len(self._tables.places)

    def search(self, query: str, limit: int) -> list[int]:
        """Numbers of the best documents, in order; at most `limit`. Raises `IntegrityError` for a damaged index."""
        return [hit.document for hit in self.hits(query, limit)]

    def hits(self, query: str, limit: int) -> list[Hit]:
        """The best documents with their scores, the best first; equal scores by key."""
        counts = Counter(analyze(query))
        terms = [found for term, count in counts.items() if (found := self._find(term, count)) is not None]
        documents, scores = best_documents(terms, len(self), limit)
        order = np.lexsort((self._tables.places[documents], -scores))[:limit]
        return [Hit(*hit) for hit in zip(documents[order].tolist(), scores[order].tolist(), strict=True)]

    def _find(self, term: str, count: int) -> TermPostings | None:
        """The postings of a term that a query holds `count` times; None if no document holds it."""
        tables, spelled = self._tables, term.encode(errors="surrogatepass")
        number = bisect_left(range(len(tables.term_ends)), spelled, key=tables.term)
        if number == len(tables.term_ends) or tables.term(number) != spelled:
            return None
        start = int(tables.posting_ends[number - 1]) if number else 0
        end = int(tables.posting_ends[number])
        documents, codes = tables.postings[start:end], tables.codes[start:end]
        self._check(number, documents, codes)
        weight = np.float32(count) * idf(tables.searchable, end - start)
        return TermPostings(
            np.asarray(documents),
            np.asarray(codes),
            parts=weight - weight / tables.saturations,
            bound=float(weight - weight / tables.bounds[number]),
        )

    def _check(self, number: int, documents: NDArray[Any], codes: NDArray[Any]) -> None:
        """Check the postings of a term the first time they are used."""
        if number in self._checked:
            return
        if posting_checksum(documents, codes) != int(self._tables.checksums[number]):
            raise IntegrityError(
                "the search index is damaged in its cache",
                "delete the cache folder of this catalogue: it is built again from the data files",
            )
        self._checked.add(number)
