"""The search of a catalogue: in memory for a small one, in the catalogue's cache folder for a large one."""

from pathlib import Path
from threading import Lock

from hiper import logs
from hiper.envs.webshop.catalogue import Catalogue, build_once
from hiper.envs.webshop.search.documents import document_of
from hiper.envs.webshop.search.index import SearchIndex
from hiper.envs.webshop.search.merging import build_index
from hiper.envs.webshop.search.tables import INDEX_FORMAT

__all__ = ["CatalogueSearch"]


class CatalogueSearch:
    """Finds products by number. The index is built or mapped at the first search; threads and processes share it."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = Lock()
        self._index: SearchIndex | None = None

    def __call__(self, query: str, limit: int) -> list[int]:
        """Numbers of the best products, in order; at most `limit`. Raises `IntegrityError` for a damaged cache."""
        return self.index.search(query, limit)

    @property
    def index(self) -> SearchIndex:
        """The index. The first call takes as long as building it where it is not cached."""
        with self._lock:
            if self._index is None:
                self._index = self._open()
            return self._index

    @property
    def folder(self) -> Path | None:
        """Where the index is cached, named by the contents it was made of; None for one in memory."""
        if self._catalogue.folder is None:
            return None
        return self._catalogue.folder / f"search-{INDEX_FORMAT}-{self._catalogue.store.facts.items_sha256[:16]}"

    def _open(self) -> SearchIndex:
        documents = map(document_of, self._catalogue)
        folder = self.folder
        if folder is None:
            return SearchIndex.build(documents)

        def build() -> None:
            logs.get().info("search_index_building", folder=str(folder), products=len(self._catalogue))
            build_index(folder, documents)

        build_once(folder, build)
        return SearchIndex.load(folder)
