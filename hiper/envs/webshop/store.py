"""Products of a catalogue as bytes and columns, in memory or mapped from a folder.

A product is decoded when it is asked for, so a catalogue of a million costs what is looked at. What is needed of all
products at once (asins, prices, numbers of goals, categories) are columns.

Invariants:
- Products keep the order of the item file; their place in it is their number.
- Every record carries a checksum, the columns one each in the manifest: damaged bytes are reported, never decoded.
- A folder is complete or absent: it is written beside its place and renamed.
"""

import hashlib
import json
import mmap
import os
import shutil
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from hiper.checksums import file_sha256
from hiper.durable import replace_directory, write_json
from hiper.envs.webshop.model import Product
from hiper.envs.webshop.products import decode_product, encode_product, goal_count, is_asked_for
from hiper.errors import IntegrityError

__all__ = ["STORE_FORMAT", "ProductStore", "map_store", "pack_products", "write_store"]

STORE_FORMAT = 2
"""Changes when the folder's form or the meaning of a record does."""

_RECORDS, _MANIFEST = "products.bin", "manifest.json"
_REBUILD = "delete this folder: it is built again from the data files"
_NEWLINE = b"\n"  # between the two parts of a record; compact JSON has none


@dataclass(frozen=True, slots=True)
class Columns:
    """One array a field, one entry a product."""

    ends: NDArray[np.uint64]
    """Where its record ends, in bytes."""
    checksums: NDArray[np.uint32]
    """CRC-32 of its record."""
    low: NDArray[np.float64]
    """Its price, or the first one of a range."""
    high: NDArray[np.float64]
    """The second price of a range; NaN for a single price."""
    asked_for: NDArray[np.bool_]
    """Whether it has a price limit, which is drawn even where there are no goals."""
    goals: NDArray[np.uint32]
    """Synthetic goals that ask for it."""
    category: NDArray[np.uint32]
    """Its category, numbered by appearance."""
    query: NDArray[np.uint32]
    """Its query, numbered by appearance."""
    asins: NDArray[np.bytes_]
    """All asins, sorted; not by product."""
    by_asin: NDArray[np.uint32]
    """The product of each of `asins`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a catalogue besides its products."""

    items_sha256: str
    """Of what is read of the item file: the same for two files that differ in nothing the shop uses."""
    attributes_sha256: str
    """Of what is read of the attribute file."""
    categories: Mapping[str, int]
    queries: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ProductStore:
    """All products of a catalogue. Safe to share between threads; processes share the pages of a mapped one."""

    records: bytes | mmap.mmap
    columns: Columns
    facts: Facts

    def __len__(self) -> int:
        return len(self.columns.ends)

    def product(self, number: int) -> Product:
        """Decode one product. Raises `IntegrityError` if its bytes are damaged."""
        start = int(self.columns.ends[number - 1]) if number else 0
        record = self.records[start : int(self.columns.ends[number])]
        if zlib.crc32(record) != self.columns.checksums[number]:
            raise IntegrityError(f"product {number} of the WebShop catalogue is damaged in its cache", _REBUILD)
        item, _, extra = record.partition(_NEWLINE)
        return decode_product(item, extra)

    def find(self, asin: str) -> int | None:
        """Number of the product with this asin."""
        key, asins = np.bytes_(asin.encode()), self.columns.asins
        at = int(np.searchsorted(asins, key))
        return int(self.columns.by_asin[at]) if at < len(asins) and asins[at] == key else None

    def with_category(self, category: str) -> Sequence[int]:
        """Numbers of the products of a category, in order."""
        return _places(self.columns.category, self.facts.categories.get(category))

    def with_query(self, query: str) -> Sequence[int]:
        """Numbers of the products that came from this query, in order."""
        return _places(self.columns.query, self.facts.queries.get(query))


def _places(column: NDArray[np.uint32], value: int | None) -> Sequence[int]:
    return [] if value is None else array("I", np.flatnonzero(column == value).astype(np.uint32).tobytes())


def pack_products(products: Iterable[Product]) -> ProductStore:
    """A store in memory."""
    records = BytesIO()
    columns, facts = _pack(products, records)
    return ProductStore(records.getvalue(), columns, facts)


def write_store(folder: Path, products: Iterable[Product]) -> None:
    """Write a store to `folder`, which must not exist."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with (temporary / _RECORDS).open("wb") as records:
            columns, facts = _pack(products, records)
        for column in fields(Columns):
            np.save(_column_file(temporary, column.name), getattr(columns, column.name))
        checksums = {column.name: file_sha256(_column_file(temporary, column.name)) for column in fields(Columns)}
        manifest = {name.name: getattr(facts, name.name) for name in fields(Facts)}
        write_json(temporary / _MANIFEST, {"format": STORE_FORMAT, "columns": checksums, **manifest})
        replace_directory(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def map_store(folder: Path) -> ProductStore:
    """Map a written store. Raises `IntegrityError` when it is damaged or of another form."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        if manifest["format"] != STORE_FORMAT:
            raise IntegrityError(
                f"{folder}: a WebShop cache of form {manifest['format']}, not {STORE_FORMAT}", _REBUILD
            )
        for name, sha256 in manifest["columns"].items():
            if file_sha256(_column_file(folder, name)) != sha256:
                raise IntegrityError(f"{_column_file(folder, name)}: damaged", _REBUILD)
        columns = Columns(
            **{column.name: np.load(_column_file(folder, column.name), mmap_mode="r") for column in fields(Columns)}
        )
        facts = Facts(**{name.name: manifest[name.name] for name in fields(Facts)})
        with (folder / _RECORDS).open("rb") as file:
            records = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{folder}: not a whole WebShop cache: {error}", _REBUILD) from error
    if len(columns.ends) and int(columns.ends[-1]) != len(records):
        raise IntegrityError(f"{folder / _RECORDS}: cut short", _REBUILD)
    return ProductStore(records, columns, facts)


def _column_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _pack(products: Iterable[Product], records: IO[bytes]) -> tuple[Columns, Facts]:
    """Write the records; collect what is kept of every product."""
    ends, low, high, asked_for = array("Q"), array("d"), array("d"), bytearray()
    checksums, goals, category, query = array("I"), array("I"), array("I"), array("I")
    asins: list[bytes] = []
    categories: dict[str, int] = {}
    queries: dict[str, int] = {}
    items, extras = hashlib.sha256(), hashlib.sha256()
    end = 0
    for product in products:
        item, extra = encode_product(product)
        items.update(item)
        extras.update(extra)
        record = item + _NEWLINE + extra
        records.write(record)
        end += len(record)
        ends.append(end)
        checksums.append(zlib.crc32(record))
        low.append(product.prices[0])
        high.append(product.prices[1] if len(product.prices) > 1 else np.nan)
        asked_for.append(is_asked_for(product))
        goals.append(goal_count(product))
        category.append(categories.setdefault(product.category, len(categories)))
        query.append(queries.setdefault(product.query, len(queries)))
        asins.append(product.asin.encode())
    unsorted = np.array(asins, dtype="S10")
    order = np.argsort(unsorted, kind="stable").astype(np.uint32)
    columns = Columns(
        ends=np.asarray(ends),
        checksums=np.asarray(checksums),
        low=np.asarray(low),
        high=np.asarray(high),
        asked_for=np.frombuffer(asked_for, np.bool_),
        goals=np.asarray(goals),
        category=np.asarray(category),
        query=np.asarray(query),
        asins=unsorted[order],
        by_asin=order,
    )
    return columns, Facts(items.hexdigest(), extras.hexdigest(), categories, queries)
