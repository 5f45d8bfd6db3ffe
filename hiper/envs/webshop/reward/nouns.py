"""Nouns of product titles, from the best source there is (spec 2.7).

1. A table beside the data files, `title_nouns*.json[.gz]`: `{"rule": text, "nouns": {asin: [noun, ...]}}`.
2. spaCy with `en_core_web_sm`, as the original: tokens tagged NOUN or PROPN. For those who have both installed.
3. Words of the title that are no stop words.

A source's `name` says which it is: rewards under different sources are not comparable, so panels pin it.
"""

import gzip
import importlib
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from hiper.durable import write_bytes
from hiper.envs.webshop.model import Product
from hiper.envs.webshop.reward.title_words import title_words
from hiper.errors import DataError, DependencyError

__all__ = [
    "NounRule",
    "NounSource",
    "RuleNouns",
    "SpacyNouns",
    "TableNouns",
    "choose_nouns",
    "has_spacy",
    "read_table",
    "write_table",
]

SPACY_MODEL = "en_core_web_sm"
_TAGS = ("NOUN", "PROPN", "PNOUN")
_KEPT = 1 << 14
_INSTALL = "pip install spacy, then python -m spacy download en_core_web_sm"


class NounRule(StrEnum):
    """Sources that need no table."""

    SPACY = "spacy"
    WORDS = "words"

    def source(self) -> "NounSource":
        """The source itself. Raises `DependencyError` if it is not installed."""
        return SpacyNouns() if self is NounRule.SPACY else RuleNouns()


class NounSource(Protocol):
    """Finds nouns, lower-cased, in order, repeated as they occur."""

    @property
    def name(self) -> str:
        """Which source; equal names give equal nouns."""
        ...

    def nouns(self, asin: str, title: str, /) -> tuple[str, ...]:
        """Nouns of the title of a product."""
        ...


class RuleNouns:
    """Words that are no stop words."""

    name = "words-1"

    def __init__(self) -> None:
        self._words = lru_cache(_KEPT)(title_words)

    def nouns(self, _asin: str, title: str, /) -> tuple[str, ...]:
        """Words of the title."""
        return self._words(title)


class SpacyNouns:
    """spaCy's tagger. Slow to load (seconds) and to ask (milliseconds a title): better write a table once."""

    def __init__(self) -> None:
        if not has_spacy():
            raise DependencyError(f"spaCy with {SPACY_MODEL} is not installed", _INSTALL)
        spacy = importlib.import_module("spacy")
        self._parse: Callable[[str], Any] = spacy.load(SPACY_MODEL, exclude=["ner", "lemmatizer"])
        self.name = f"spacy-{spacy.__version__}-{SPACY_MODEL}"
        self._tagged = lru_cache(_KEPT)(self._tag)

    def nouns(self, _asin: str, title: str, /) -> tuple[str, ...]:
        """Tokens of the title that are tagged as nouns."""
        return self._tagged(title)

    def _tag(self, title: str) -> tuple[str, ...]:
        return tuple(token.text.lower() for token in self._parse(title) if token.pos_ in _TAGS)


class TableNouns:
    """Nouns by asin; for products that are not in the table, those of another source."""

    def __init__(self, table: Mapping[str, tuple[str, ...]], name: str, other: NounSource) -> None:
        self._table = table
        self._other = other
        self.name = name

    def nouns(self, asin: str, title: str, /) -> tuple[str, ...]:
        """Nouns of the title of a product."""
        known = self._table.get(asin)
        return self._other.nouns(asin, title) if known is None else known


def has_spacy() -> bool:
    """Whether spaCy and its English model are installed. Imports neither."""
    return find_spec("spacy") is not None and find_spec(SPACY_MODEL) is not None


def choose_nouns(table: Path | None = None) -> NounSource:
    """The best source there is: the table in a file, else spaCy, else the rule. Raises `DataError`."""
    if table is not None:
        return read_table(table)
    return (NounRule.SPACY if has_spacy() else NounRule.WORDS).source()


def read_table(path: Path) -> TableNouns:
    """The table in a file, plain or gzip-compressed. Raises `DataError` when it is no such file."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        nouns = json.loads(data)["nouns"]
        table = {asin: tuple(map(str, words)) for asin, words in nouns.items()}
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a table of nouns: {error!r}", "fetch it again or delete it") from error
    return TableNouns(table, f"table-{sha256(data).hexdigest()[:16]}", RuleNouns())


def write_table(path: Path, products: Iterable[Product], source: NounSource) -> int:
    """Write what `source` finds in the titles of `products`, gzip-compressed, for `read_table`. Returns how many."""
    nouns = {product.asin: source.nouns(product.asin, product.title) for product in products}
    text = json.dumps({"rule": source.name, "nouns": nouns}, ensure_ascii=False)
    write_bytes(path, gzip.compress(text.encode(), mtime=0))
    return len(nouns)
