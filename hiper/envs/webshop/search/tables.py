"""The finished index as it lies on the disk: one raw file per array, and a manifest.

Invariants:
- A folder is complete or absent (it is written beside its place and renamed), and never changes.
- Whatever is read of it has passed a checksum: small arrays when the index is loaded, the postings of a term when the
  term is first searched, so that opening a large index reads little of it.
"""

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from hiper.checksums import file_sha256
from hiper.durable import write_json
from hiper.errors import IntegrityError

__all__ = ["INDEX_FORMAT", "TableWriter", "Tables", "load_tables", "posting_checksum"]

INDEX_FORMAT = 1
"""Changes when the folder's form does, or what the analysis makes of a text."""

_MANIFEST = "manifest.json"
_LAZY = ("postings", "codes")
_KINDS: dict[str, np.dtype[Any]] = {
    "vocabulary": np.dtype("u1"),
    "term_ends": np.dtype("<u8"),
    "posting_ends": np.dtype("<u8"),
    "postings": np.dtype("<u4"),
    "codes": np.dtype("<u4"),  # or smaller
    "saturations": np.dtype("<f4"),
    "bounds": np.dtype("<f4"),
    "checksums": np.dtype("<u4"),
    "places": np.dtype("<u4"),
}
_REBUILD = "delete this folder: it is built again from the data files"


@dataclass(frozen=True, slots=True)
class Tables:
    """T terms, P postings, D documents, S different saturations."""

    vocabulary: NDArray[np.uint8]
    """The terms in UTF-8, sorted, one after the other."""
    term_ends: NDArray[np.uint64]
    """Where each of them ends; [T]."""
    posting_ends: NDArray[np.uint64]
    """Where the postings of each term end; [T]."""
    postings: NDArray[np.uint32]
    """Numbers of the documents that hold a term, ascending within a term; [P]."""
    codes: NDArray[np.unsignedinteger[Any]]
    """Of each posting: which of `saturations` it has; [P], of the smallest type that fits."""
    saturations: NDArray[np.float32]
    """What BM25 makes of an occurrence count and a length (`bm25.saturations`); [S]."""
    bounds: NDArray[np.float32]
    """The largest saturation among the postings of each term; [T]."""
    checksums: NDArray[np.uint32]
    """CRC-32 of the postings and codes of each term; [T]."""
    places: NDArray[np.uint32]
    """Each document's place among all, sorted by key; [D]."""
    searchable: int
    """Documents with at least one term; the others do not count."""

    def term(self, number: int) -> bytes:
        """A term in UTF-8."""
        start = int(self.term_ends[number - 1]) if number else 0
        return self.vocabulary[start : int(self.term_ends[number])].tobytes()


class TableWriter:
    """A new index in a folder, its tables written from their beginnings to their ends."""

    def __init__(self, folder: Path, codes: np.dtype[Any]) -> None:
        self._folder = folder
        self._columns = {name: _Column(folder / f"{name}.bin", kind) for name, kind in _KINDS.items()}
        self._columns["codes"].kind = codes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for column in self._columns.values():
            column.file.close()

    def append(self, table: str, values: NDArray[Any]) -> None:
        """Write at the end of a table."""
        self._columns[table].append(values)

    def finish(self, searchable: int) -> None:
        """Write the manifest: the index is complete."""
        columns = {name: column.facts() for name, column in self._columns.items()}
        write_json(self._folder / _MANIFEST, {"format": INDEX_FORMAT, "searchable": searchable, "columns": columns})


class _Column:
    def __init__(self, path: Path, kind: np.dtype[Any]) -> None:
        self.kind = kind
        self.file: BinaryIO = path.open("wb")
        self._digest = hashlib.sha256()
        self._bytes = 0

    def append(self, values: NDArray[Any]) -> None:
        data = np.ascontiguousarray(values, self.kind).tobytes()
        self.file.write(data)
        self._digest.update(data)
        self._bytes += len(data)

    def facts(self) -> dict[str, str | int]:
        return {"kind": self.kind.str, "bytes": self._bytes, "sha256": self._digest.hexdigest()}


def posting_checksum(postings: NDArray[Any], codes: NDArray[Any]) -> int:
    """Checksum of the postings of one term."""
    return zlib.crc32(codes.tobytes(), zlib.crc32(postings.tobytes()))


def load_tables(folder: Path, *, mapped: bool) -> Tables:
    """Map a written index, or read it into memory. Raises `IntegrityError` when it is damaged or of another form."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        if manifest["format"] != INDEX_FORMAT:
            raise IntegrityError(f"{folder}: an index of form {manifest['format']}, not {INDEX_FORMAT}", _REBUILD)
        columns = {name: _load(folder / f"{name}.bin", manifest["columns"][name], mapped=mapped) for name in _KINDS}
        return Tables(**columns, searchable=int(manifest["searchable"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{folder}: not a whole search index: {error}", _REBUILD) from error


def _load(path: Path, facts: dict[str, Any], *, mapped: bool) -> NDArray[Any]:
    if path.stat().st_size != facts["bytes"]:
        raise IntegrityError(f"{path}: has {path.stat().st_size} bytes, not {facts['bytes']}", _REBUILD)
    if path.stem not in _LAZY and file_sha256(path) != facts["sha256"]:
        raise IntegrityError(f"{path}: damaged", _REBUILD)
    if mapped and facts["bytes"]:
        return np.memmap(path, facts["kind"], "r")
    return np.fromfile(path, facts["kind"])
