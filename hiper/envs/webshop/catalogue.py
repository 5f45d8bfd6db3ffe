"""The products of a shop, from its data files (spec 2.2).

A small catalogue is loaded into memory, which takes less time than looking for a cache. A large one is read once into a
cache folder that all processes map; what a session touches of it is what it costs.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from hiper.envs.webshop.files import JsonItems, ShopFiles
from hiper.envs.webshop.model import Instruction, Product
from hiper.envs.webshop.products import read_products
from hiper.envs.webshop.store import STORE_FORMAT, ProductStore, map_store, pack_products, write_store
from hiper.errors import DataError

__all__ = ["Catalogue", "build_once", "default_cache", "open_catalogue", "parse_instruction", "read_instructions"]

_GET_AGAIN = "the file is not WebShop's, or it is damaged: fetch it again"
_SMALL = 64 * 2**20
"""Bytes of an item file, as it lies on the disk, up to which it is loaded into memory."""
_PRODUCTS_KEPT = 4096
"""Decoded products kept, about 5 kB each."""


class Catalogue:
    """Products by number, the most recently used ones decoded. Safe to share between threads."""

    def __init__(self, store: ProductStore, name: str, folder: Path | None = None) -> None:
        self.store = store
        self.name = name
        """Which catalogue, e.g. `1000`."""
        self.folder = folder
        """Where it is cached on the disk; None for one in memory."""
        self.product = lru_cache(_PRODUCTS_KEPT)(store.product)
        """Product of a number."""

    def __len__(self) -> int:
        return len(self.store)

    def __iter__(self) -> Iterator[Product]:
        """All products in order, decoded one by one and not kept."""
        return map(self.store.product, range(len(self.store)))


def default_cache() -> Path:
    """Where catalogues are cached: `HIPER_CACHE`, else the user's cache folder."""
    named = os.environ.get("HIPER_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hiper"


def open_catalogue(files: ShopFiles, cache: Path | None = None, *, small: int = _SMALL) -> Catalogue:
    """Load the catalogue, or map it from `cache` (see `default_cache`), where it is put the first time.

    Item files of at most `small` bytes are loaded. Raises `DataError` for files that are missing or damaged and
    `IntegrityError` for a damaged cache.
    """
    if files.items.stat().st_size <= small:
        store, folder = pack_products(_read(files)), None
    else:
        folder = (cache or default_cache()) / "webshop" / f"{files.name}-{_signature(files)}"
        build_once(folder, lambda: write_store(folder, _read(files)))
        store = map_store(folder)
    if not len(store):
        raise DataError(f"{files.items}: holds no products", _GET_AGAIN)
    return Catalogue(store, files.name, folder)


def read_instructions(path: Path) -> dict[str, list[Instruction]]:
    """People's instructions by asin. Raises `DataError`."""
    found = {}
    for asin, entries in JsonItems(path).pairs():
        try:
            found[asin] = [parse_instruction(entry) for entry in entries]
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: the instructions for {asin} are not WebShop's: {error!r}", _GET_AGAIN) from error
    return found


def parse_instruction(entry: Mapping[str, Any]) -> Instruction:
    """What one person asked for. Raises `KeyError`, `TypeError` or `AttributeError` for an entry of another form."""
    text, attributes, options = (entry[f"instruction{end}"] for end in ("", "_attributes", "_options"))
    return Instruction(text.strip("."), tuple(map(str, attributes)), tuple(map(str, options)))


def _read(files: ShopFiles) -> Iterator[Product]:
    attributes = _Attributes({asin: json.dumps(entry).encode() for asin, entry in JsonItems(files.attributes).pairs()})
    try:
        yield from read_products(JsonItems(files.items).values(), attributes)
    except ValueError as error:
        raise DataError(f"{files.items}: {error}", _GET_AGAIN) from error


@dataclass(frozen=True, slots=True)
class _Attributes(Mapping[str, Any]):
    """Entries of the attribute file as bytes: a million of them as objects would take gigabytes."""

    entries: dict[str, bytes]

    def __getitem__(self, asin: str) -> Any:
        return json.loads(self.entries[asin])

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def _signature(files: ShopFiles) -> str:
    """Tells files apart without reading gigabytes: which they are, how large, and when they were written."""
    seen: list[object] = [STORE_FORMAT]
    for path in (files.items, files.attributes):
        stat = path.stat()
        seen += [str(path.resolve()), stat.st_size, stat.st_mtime_ns]
    return sha256(json.dumps(seen).encode()).hexdigest()[:16]


def build_once(folder: Path, build: Callable[[], None]) -> None:
    """Call `build`, which makes `folder` whole or not at all, unless it is there: one process does, the others wait.

    Raises `DataError` when it cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                build()
    except OSError as error:
        hint = "make room there, or set HIPER_CACHE to another folder"
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}", hint) from error
