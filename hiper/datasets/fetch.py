"""Downloading one file: resumed after an interruption, verified by its sha256, and there only when it is whole.

What has arrived lies in `.<name>.part` beside the target until its hash has been compared; then it is renamed. A file
put there by hand is taken, and verified, like one that was downloaded: that is how a machine without internet gets it.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from hiper.checksums import file_sha256
from hiper.datasets.releases import PublishedFile
from hiper.durable import fsync_directory
from hiper.errors import DataError, IntegrityError, RemoteError

__all__ = ["FetchSettings", "Fetched", "fetch_file"]

_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE_START = re.compile(r"bytes (\d+)-")


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """Bounds of one download."""

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    """Longest silence."""
    deadline_s: float = 3600.0
    """Of the whole download, attempts included."""
    attempts: int = 4
    pause_s: float = 0.5
    """Before the second attempt; doubled for each further one."""
    max_bytes: int = 16 * 2**30
    """Bound for a file of unknown size."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is there, whole, as it was published."""

    path: Path
    was_there: bool
    """Nothing had to be downloaded."""


class _Interrupted(Exception):  # noqa: N818 - not a failure yet: the next attempt goes on from here
    """An attempt ended early."""


def fetch_file(
    file: PublishedFile,
    folder: Path,
    settings: FetchSettings = FetchSettings(),
    on_progress: Callable[[int, int | None], None] = lambda _done, _total: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Bring `file` into `folder`. `on_progress` is told how many bytes are there, and of how many if that is known.

    Raises `RemoteError` if it cannot be had, `IntegrityError` if it is not what was published, `DataError` for a disk
    that does not take it. Asked again, it goes on where it stopped.
    """
    target, part = folder / file.name, folder / f".{file.name}.part"
    try:
        if target.exists():
            _require(target, file, f"{target} is not what was published", "remove it to download it again")
            return Fetched(target, was_there=True)
        folder.mkdir(parents=True, exist_ok=True)
        if not part.exists() or file_sha256(part) != file.sha256:
            _Download(file, target, part, settings, on_progress, sleep).run()
        try:
            _require(part, file, f"what came from {file.url} is not {file.name}", "it is removed; get it elsewhere")
        except IntegrityError:
            part.unlink()  # nothing that comes after it could make it right
            raise
        part.rename(target)
        fsync_directory(folder)
    except OSError as error:
        raise DataError(f"{target}: {error.strerror}", "see to the folder or the disk, then go on") from error
    return Fetched(target, was_there=False)


def _require(path: Path, file: PublishedFile, otherwise: str, hint: str) -> None:
    """Raises `IntegrityError` unless `path` has the published hash."""
    found = file_sha256(path)
    if found != file.sha256:
        size = path.stat().st_size
        raise IntegrityError(f"{otherwise}: {size} bytes with sha256 {found} instead of {file.sha256}", hint)


@dataclass(frozen=True, slots=True)
class _Download:
    file: PublishedFile
    target: Path
    part: Path
    settings: FetchSettings
    on_progress: Callable[[int, int | None], None]
    sleep: Callable[[float], None]

    def run(self) -> None:
        """Download into the part, over as many attempts as there are. Raises `RemoteError`."""
        settings, give_up = self.settings, time.monotonic() + self.settings.deadline_s
        last: Exception | None = None
        timeout = httpx.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s)
        with httpx.Client(timeout=timeout, follow_redirects=True) as client:
            for attempt in range(settings.attempts):
                if attempt:
                    self.sleep(settings.pause_s * 2 ** (attempt - 1))
                try:
                    self._attempt(client, give_up)
                    return
                except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
                    raise self._failed(str(error)) from error
                except (_Interrupted, httpx.TransportError) as error:
                    last = error
        raise self._failed(f"{str(last) or type(last).__name__} ({settings.attempts} attempts)") from last

    def _attempt(self, client: httpx.Client, give_up: float) -> None:
        have = self.part.stat().st_size if self.part.exists() else 0
        # Bytes as they lie on the server: a range of a compressed answer would be a range of something else.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with client.stream("GET", self.file.url, headers=headers) as response:
            start = self._start(response, have)
            length = response.headers.get("Content-Length")
            total = start + int(length) if length and length.isdigit() else self.file.size
            self._check_size(total)
            with self.part.open("r+b" if start else "wb") as out:
                out.truncate(start)
                out.seek(start)
                for chunk in response.iter_raw():
                    out.write(chunk)
                    self._check_size(out.tell())
                    self.on_progress(out.tell(), total)
                    if time.monotonic() > give_up:
                        raise self._failed(f"not done within {self.settings.deadline_s:g} s; asked again, it goes on")

    def _start(self, response: httpx.Response, have: int) -> int:
        """Where the answer begins in the file: at what we have, or, from a server without ranges, at 0."""
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            range_start = _RANGE_START.match(response.headers.get("Content-Range", ""))
            if range_start is None or int(range_start[1]) != have:
                self.part.unlink()
                raise _Interrupted("the server sent another part than it was asked for")
            return have
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            self.part.unlink()  # it is whole, or of an older file: only a new download can tell
            raise _Interrupted("the server has no more than was here")
        if response.status_code in _MAY_PASS:
            raise _Interrupted(f"the server answered {response.status_code} {response.reason_phrase}")
        if response.status_code != httpx.codes.OK:
            raise self._failed(f"the server answered {response.status_code} {response.reason_phrase}")
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise self._failed("the server answered with a page for people, not with the file")
        return 0

    def _check_size(self, size: int | None) -> None:
        limit = self.file.size or self.settings.max_bytes
        if size is not None and size > limit:
            self.part.unlink(missing_ok=True)
            raise self._failed(f"it sends {size} bytes or more where {limit} are expected at most")

    def _failed(self, why: str) -> RemoteError:
        return RemoteError(
            f"cannot fetch {self.file.url}: {why}",
            f"without internet here, download it elsewhere, put it at {self.target} and run this command again: it "
            "will be verified there",
        )
