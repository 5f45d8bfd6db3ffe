"""Where game files are read from: an unpacked tree, or the archive as it is (spec 1.1). The only I/O of this package.

Both storages name a game `<split>/<task>/<trial>` and leave out what the original leaves out, counting it by reason.
"""

import json
import lzma
import tarfile
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from hiper.errors import DataError

__all__ = ["GAME_FILE", "SPLITS", "ArchiveStorage", "FolderStorage", "Storage", "open_storage"]

SPLITS = ("train", "valid_seen", "valid_unseen", "valid_train")
GAME_FILE = "game.tw-pddl"
_TREE = "json_2.1.1"  # the folder's name in every version of the data
_SOLVABLE = b'"solvable": true'
_TAIL = 8192  # bytes at the end of a game file: the last two of its fields
_GET_DATA = "point it at the folder with json_2.1.1, or at its .tar.xz archive (alfworld-download fetches the games)"
_GET_AGAIN = "the file is damaged or incomplete: fetch it again and compare its sha256"


class Storage(Protocol):
    """A set of game files. Safe to share between threads."""

    @property
    def skipped(self) -> Counter[str]:
        """Games left out so far, by reason; complete for a split once it has been listed."""
        ...

    def ids(self, split: str) -> list[str]:
        """Ids of the games of `split`, in no particular order."""
        ...

    def read(self, game_id: str) -> bytes | None:
        """The bytes of one game file; None when there is no such game."""
        ...


def open_storage(path: Path) -> Storage:
    """Storage for `path`: the json_2.1.1 tree, its parent, the archive, or a folder that holds one of these.

    Raises `DataError` when there is nothing of the kind.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder", _GET_DATA)
    if path.is_file():
        return ArchiveStorage(path)
    for folder in (path, path / "alfworld"):
        for tree in (folder / _TREE, folder):
            if any((tree / split).is_dir() for split in SPLITS):
                return FolderStorage(tree)
        archives = sorted(folder.glob("*.tar*")) if folder.is_dir() else []
        if len(archives) == 1:
            return ArchiveStorage(archives[0])
        if archives:
            raise DataError(f"{folder}: holds {len(archives)} archives", "name the one to use")
    raise DataError(f"{path}: no ALFWorld games in this folder", _GET_DATA)


def _reason_to_skip(game_id: str) -> str | None:
    """Why the original leaves this path out, if it does."""
    return next((word for word in ("movable", "Sliced") if word in game_id), None)


def _solvable(data: bytes) -> bool:
    """Whether a game file says so. One that cannot be parsed counts as solvable: opening it says what is wrong."""
    if _SOLVABLE in data:
        return True
    try:
        document = json.loads(data)
    except ValueError:
        return True
    return not isinstance(document, dict) or document.get("solvable") is True


class FolderStorage:
    """Games of an unpacked tree."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._skipped: dict[str, Counter[str]] = {}

    def __str__(self) -> str:
        return str(self._tree)

    @property
    def skipped(self) -> Counter[str]:
        """Games left out so far, by reason."""
        return sum(self._skipped.values(), Counter())

    def ids(self, split: str) -> list[str]:
        """Ids of the games of `split`."""
        found, skipped = [], Counter[str]()
        for trial in (self._tree / split).glob("*/*/"):
            game_id = f"{split}/{trial.parent.name}/{trial.name}"
            if reason := _reason_to_skip(game_id) or self._reason_to_skip_file(trial / GAME_FILE):
                skipped[reason] += 1
            else:
                found.append(game_id)
        self._skipped[split] = skipped
        return found

    @staticmethod
    def _reason_to_skip_file(path: Path) -> str | None:
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _TAIL))
                if _SOLVABLE in file.read():
                    return None
            return None if _solvable(path.read_bytes()) else "unsolvable"
        except (FileNotFoundError, NotADirectoryError):
            return "no game file"
        except OSError:
            return None  # listed all the same: reading it names the trouble

    def read(self, game_id: str) -> bytes | None:
        """The bytes of one game file."""
        path = self._tree / game_id / GAME_FILE
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            hint = "check the file and its permissions"
            raise DataError(f"{path}: cannot be read: {error.strerror}", hint) from error


class ArchiveStorage:
    """Games of a tar archive, read once from front to back and only as far as needed.

    What has been passed is kept compressed in memory (about 11 kB a game, 45 MB in all; the tree is 344 MB), because an
    xz stream cannot be read at a point in its middle.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._games: dict[str, bytes] = {}
        self._skipped: Counter[str] = Counter()
        self._rest: Iterator[str] | None = self._scan()

    def __str__(self) -> str:
        return str(self._path)

    @property
    def skipped(self) -> Counter[str]:
        """Games left out so far, by reason."""
        return Counter(self._skipped)

    def ids(self, split: str) -> list[str]:
        """Ids of the games of `split`."""
        self._advance_to(None)
        return [game_id for game_id in self._games if game_id.startswith(f"{split}/")]

    def read(self, game_id: str) -> bytes | None:
        """The bytes of one game file."""
        if game_id not in self._games:
            self._advance_to(game_id)
        packed = self._games.get(game_id)
        return None if packed is None else zlib.decompress(packed)

    def _advance_to(self, game_id: str | None) -> None:
        """Read on until `game_id` has been passed; to the end for None."""
        with self._lock:
            if self._rest is None or game_id in self._games:
                return
            try:
                for passed in self._rest:
                    if passed == game_id:
                        return
            except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, zlib.error) as error:
                self._rest = self._scan()  # the next caller gets the same answer, not an empty archive
                raise DataError(f"{self._path}: cannot be read as an archive of games: {error}", _GET_AGAIN) from error
            self._rest = None
            if not self._games:
                raise DataError(f"{self._path}: holds no ALFWorld games", _GET_DATA)

    def _scan(self) -> Iterator[str]:
        """Read the archive, keep each game, and yield its id."""
        self._skipped.clear()
        with tarfile.open(self._path, "r|*") as archive:
            for member in archive:
                parts = member.name.split("/")
                if parts[-1] != GAME_FILE or len(parts) < 4 or not member.isfile():
                    continue
                game_id = "/".join(parts[-4:-1])
                if reason := _reason_to_skip(game_id):
                    self._skipped[reason] += 1
                elif (file := archive.extractfile(member)) is not None:
                    data = file.read()
                    if _solvable(data):
                        self._games[game_id] = zlib.compress(data, level=1)
                        yield game_id
                    else:
                        self._skipped["unsolvable"] += 1
