"""The shop's data files: which they are, and their contents as a stream (spec 2.1). The only reading of them.

Files may be plain or gzip-compressed. However large a file is, one item of it is in memory at a time. Anything wrong
with a file is a `DataError` that names it.
"""

import codecs
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from hiper.errors import DataError

__all__ = ["JsonItems", "ShopFiles", "find_files", "known_hash"]

_ITEMS = "items_shuffle"
_CHUNK = 1 << 20  # bytes read at once
_LARGEST_ITEM = 1 << 26  # characters; an item that is longer is taken for a file whose end is missing
_GET_DATA = "point it at the folder with items_shuffle_1000.json and items_ins_v2_1000.json"
_GET_AGAIN = "the file is damaged or incomplete: fetch it again and compare its sha256"

_KNOWN = {
    "30a4765c3a327af72d9a9a95a6b2486d516f0fa1d3ecd83681901ce82a21b269": "items_shuffle_1000.json, upstream",
    "46c869f8d06214efa0f95c69b8aed197eacb5a3cd44a98efcc596da25d527a96": "items_shuffle_1000.json, rebuilt",
    "f88a36314a397b53b3d9c3fa5878e5f7b26d35019a51ec83fbedeca61a948f6f": "items_ins_v2_1000.json, upstream",
    "cf78667548a71786e1d9049c24b802e48e1084ad4bb021cae56ce1f6d96954a3": "items_human_ins.json, upstream",
}


def known_hash(sha256: str) -> str | None:
    """Which published file has this hash (of its uncompressed bytes); None for one that is not known here."""
    return _KNOWN.get(sha256)


@dataclass(frozen=True, slots=True)
class ShopFiles:
    """The files of one catalogue."""

    items: Path
    attributes: Path
    human: Path | None
    """Instructions written by people, where they are."""
    nouns: Path | None
    """Nouns of the titles, where they are."""
    name: str
    """Which catalogue: the end of the item file's name, e.g. `1000`; `full` for the one without."""

    @property
    def noun_table(self) -> Path:
        """Where a table of nouns would be found."""
        return self.items.with_name(f"title_nouns{_ending(_catalogue(self.items))}.json.gz")


def find_files(path: Path) -> ShopFiles:
    """The catalogue at `path`: its folder, the folder above it, or its item file where a folder has several.

    Raises `DataError` when there is none, or none that is complete.
    """
    if path.is_file():
        return _of_items(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder", _GET_DATA)
    for folder in (path, path / "webshop"):
        found = sorted(entry for entry in folder.glob(f"{_ITEMS}*") if entry.name.endswith((".json", ".json.gz")))
        if len({_catalogue(entry) for entry in found}) > 1:
            names = ", ".join(entry.name for entry in found)
            raise DataError(f"{folder}: holds several catalogues: {names}", "name the file to use")
        if found:
            return _of_items(found[0])
    raise DataError(f"{path}: no WebShop products in this folder (items_shuffle*.json)", _GET_DATA)


def _of_items(items: Path) -> ShopFiles:
    if not items.name.startswith(_ITEMS):
        raise DataError(f"{items}: not a file of WebShop products", _GET_DATA)
    name = _catalogue(items)
    end = _ending(name)
    attributes = _either(items.with_name(f"items_ins_v2{end}.json"))
    if attributes is None:
        raise DataError(f"{items.parent}: items_ins_v2{end}.json is missing", _GET_DATA)
    human = _either(items.with_name("items_human_ins.json"))
    nouns = _either(items.with_name(f"title_nouns{end}.json"))
    return ShopFiles(items, attributes, human, nouns, name or "full")


def _catalogue(items: Path) -> str:
    return items.name.removesuffix(".gz").removesuffix(".json").removeprefix(_ITEMS).removeprefix("_")


def _ending(catalogue: str) -> str:
    return f"_{catalogue}" if catalogue else ""


def _either(path: Path) -> Path | None:
    """The file, plain or compressed."""
    return next((name for name in (path, path.with_name(f"{path.name}.gz")) if name.is_file()), None)


class JsonItems:
    """A file that holds one JSON array or object, item by item, once.

    `sha256` is that of the uncompressed bytes, complete when the file has been read to its end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._pieces = _pieces(path, self._digest)
        self._text = ""
        self._at = 0  # how far `_text` is used up
        self._count = 0  # items begun
        self._parse = json.JSONDecoder().raw_decode

    @property
    def sha256(self) -> str:
        """Hash of what has been read, hexadecimal."""
        return self._digest.hexdigest()

    def values(self) -> Iterator[Any]:
        """The items of an array."""
        self._expect("[")
        while self._more("]"):
            yield self._value()

    def pairs(self) -> Iterator[tuple[str, Any]]:
        """The members of an object."""
        self._expect("{")
        while self._more("}"):
            name = self._value()
            self._expect(":")
            yield name, self._value()

    def _refill(self) -> bool:
        """Read on. False at the end of the file."""
        if len(self._text) - self._at > _LARGEST_ITEM:
            raise self._corrupt(f"it is longer than {_LARGEST_ITEM} characters")
        piece = next(self._pieces, "")
        self._text = self._text[self._at :] + piece
        self._at = 0
        return bool(piece)

    def _next(self) -> str:
        """The next character that is not white space; empty at the end of the file."""
        while True:
            while self._at < len(self._text):
                if not self._text[self._at].isspace():
                    return self._text[self._at]
                self._at += 1
            if not self._refill():
                return ""

    def _expect(self, sign: str) -> None:
        found = self._next()
        if found != sign:
            raise self._corrupt(f"{sign!r} expected, found {found!r}" if found else f"it ends where {sign!r} should be")
        self._at += 1

    def _more(self, end: str) -> bool:
        """Pass the sign before the next item. False at `end`, after which nothing may follow."""
        if self._next() == end:
            self._at += 1
            if rest := self._next():
                raise self._corrupt(f"{rest!r} after the end")
            return False
        if self._count:
            self._expect(",")
        self._count += 1
        return True

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = self._parse(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if not self._refill():
                    raise self._corrupt(str(error)) from error
                continue
            if end == len(self._text) and self._refill():
                continue  # a number may go on
            self._at = end
            return value

    def _corrupt(self, reason: str) -> DataError:
        return DataError(f"{self._path}: corrupt JSON in item {self._count}: {reason}", _GET_AGAIN)


def _pieces(path: Path, digest: "hashlib._Hash") -> Iterator[str]:
    """The text of a file, piece by piece, its bytes added to `digest`."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    passed = 0
    try:
        with _open(path) as file:
            while data := file.read(_CHUNK):
                digest.update(data)
                passed += len(data)
                if text := decode(data):
                    yield text
        yield decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 near byte {passed}: {error.reason}", _GET_AGAIN) from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}", _GET_AGAIN) from error


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")
