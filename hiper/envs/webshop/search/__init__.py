"""Search in a shop's products: Lucene's ranking, exactly, from an index that is built once and then mapped (spec 2.6).

- `SearchIndex` ranks documents of any kind; `CatalogueSearch` is the search of a catalogue, opened when first used.
"""

from hiper.envs.webshop.search.documents import Document, document_of
from hiper.envs.webshop.search.index import Hit, SearchIndex
from hiper.envs.webshop.search.of_catalogue import CatalogueSearch

__all__ = ["CatalogueSearch", "Document", "Hit", "SearchIndex", "document_of"]
