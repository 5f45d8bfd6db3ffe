"""Unpacking an archive that somebody else made: tar, compressed or not, or zip.

Invariants:
- Nothing is written outside the folder asked for: a name that leads out of it, a link or a device refuses the archive.
- The contents appear whole or not at all: they are written into a hidden folder and renamed at the end.
- Nothing that is there is replaced, and no more is written than `Limits` allow.
"""

import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from hiper.errors import DataError

__all__ = ["Limits", "Unpacked", "unpack"]

_CHUNK = 1 << 20
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, NotImplementedError)
_GET_AGAIN = "the file is damaged or incomplete: fetch it again and compare its sha256"
_NOT_OURS = "this is not an archive of the benchmarks; nothing was unpacked"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one archive may hold."""

    files: int = 250_000
    bytes: int = 16 * 2**30


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was written."""

    files: int
    bytes: int
    entries: tuple[str, ...]
    """Names in the top folder, sorted."""


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    is_folder: bool
    is_file: bool
    open: Callable[[], IO[bytes] | None]


def unpack(
    archive: Path, folder: Path, *, limits: Limits = Limits(), on_file: Callable[[int], None] = lambda _: None
) -> Unpacked:
    """Write the contents of `archive` into `folder`, which is made if need be. `on_file` is told how many there are.

    Raises `DataError` for what is no archive, damaged, unsafe or too large, and where something would be replaced.
    """
    with _staging(folder) as staging:
        writer = _Writer(archive, folder, staging, limits)
        try:
            with _members(archive) as members:
                for member in members:
                    writer.write(member)
                    on_file(writer.files)
        except _BROKEN as error:
            raise DataError(f"{archive}: cannot be unpacked: {error}", _GET_AGAIN) from error
        except RuntimeError as error:  # what zipfile says to an encrypted member
            raise DataError(f"{archive}: cannot be unpacked: {error}", _NOT_OURS) from error
        except OSError as error:
            raise DataError(f"cannot unpack {archive} into {folder}: {error}", "see to the file or the disk") from error
        entries = tuple(sorted(entry.name for entry in staging.iterdir()))
        if not writer.files:
            raise DataError(f"{archive}: holds no files", _GET_AGAIN)
        for name in entries:
            (staging / name).rename(folder / name)
    return Unpacked(writer.files, writer.bytes, entries)


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A hidden folder beside what will be there; it is gone afterwards."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}", "choose another folder") from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


class _Writer:
    """Writes members into the hidden folder, counting."""

    def __init__(self, archive: Path, folder: Path, staging: Path, limits: Limits) -> None:
        self._archive, self._folder, self._staging, self._limits = archive, folder, staging, limits
        self.files = 0
        self.bytes = 0

    def write(self, member: _Member) -> None:
        parts = self._safe_parts(member)
        if not parts:
            return  # the folder itself
        if (self._folder / parts[0]).exists():
            raise DataError(f"{self._folder / parts[0]} exists already", "remove it, or choose another folder")
        target = self._staging.joinpath(*parts)
        if member.is_folder:
            target.mkdir(parents=True, exist_ok=True)
            return
        self.files += 1
        if self.files > self._limits.files:
            raise self._unsafe(f"has more than {self._limits.files} files")
        target.parent.mkdir(parents=True, exist_ok=True)
        source = member.open()
        assert source is not None, "a member that is a file can be read"
        try:
            with source, target.open("xb") as out:
                self._copy(source, out)
        except FileExistsError:
            raise self._unsafe(f"holds {member.name!r} twice") from None

    def _copy(self, source: IO[bytes], out: IO[bytes]) -> None:
        while chunk := source.read(_CHUNK):
            self.bytes += len(chunk)
            if self.bytes > self._limits.bytes:
                raise self._unsafe(f"unpacks to more than {self._limits.bytes} bytes")
            out.write(chunk)

    def _safe_parts(self, member: _Member) -> tuple[str, ...]:
        name = member.name
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in (path.parts or ("",))[0]:
            raise self._unsafe(f"holds {name[:200]!r}, which leads out of the folder")
        if not (member.is_file or member.is_folder):
            raise self._unsafe(f"holds {name[:200]!r}, which is neither file nor folder")
        return path.parts

    def _unsafe(self, what: str) -> DataError:
        return DataError(f"{self._archive}: {what}", _NOT_OURS)


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    if not archive.is_file():
        raise DataError(f"{archive}: no such file", "name the archive to unpack")
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            yield (_of_zip(packed, info) for info in packed.infolist())
        return
    # Not "r|*": that mode takes the end of a damaged stream for the end of the archive.
    with tarfile.open(archive, "r:*") as stream:
        yield (
            _Member(info.name, info.isdir(), info.isreg(), lambda info=info: stream.extractfile(info))  # type: ignore[misc]
            for info in stream
        )


def _of_zip(packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made on Unix
    is_file = not info.is_dir() and kind in (0, stat.S_IFREG)
    return _Member(info.filename, info.is_dir(), is_file, lambda: packed.open(info))
