"""One connection to a process that serves weights (`hiper.weights.shelf`): the client's side of its protocol.

Every wait is bounded by `silence_timeout_s`; the deadline of a whole fetch is `Pace`'s, asked between any two reads.
http.client and not httpx: it reads into a buffer of ours, at several times the speed.
"""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

from hiper.errors import RemoteError
from hiper.rpc.auth import TokenFile

__all__ = ["Interrupted", "Pace", "Peer"]

_BUFFER_BYTES = 2**20
_MAX_ANSWER = 16 * 2**20
"""Of anything but a file: manifests, lists."""


class Interrupted(Exception):  # noqa: N818 - not a failure yet: another peer, or another attempt, goes on from here
    """A peer is busy, away, or broke off."""


class Pace:
    """How long a fetch may take: a deadline, a bound on standing still, and a way to stop it. Thread-safe."""

    def __init__(self, deadline_s: float, unavailable_s: float) -> None:
        self._deadline_s = deadline_s
        self._unavailable_s = unavailable_s
        self._gives_up = time.monotonic() + deadline_s
        self._moved = time.monotonic()
        self._stopped = threading.Event()

    def moved(self) -> None:
        """Say that bytes came."""
        self._moved = time.monotonic()

    def stop(self) -> None:
        """Make every later `check` fail, and every `pause` end."""
        self._stopped.set()

    def pause(self, seconds: float) -> None:
        """Wait, unless it is stopped."""
        self._stopped.wait(seconds)

    def check(self, last: str = "") -> None:
        """Raise `RemoteError` once a bound is reached, or after `stop`. `last` is what went wrong last."""
        now = time.monotonic()
        after = f", at last: {last}" if last else ""
        if self._stopped.is_set():
            raise RemoteError("the fetch was stopped")
        if now > self._gives_up:
            raise RemoteError(f"not done within {self._deadline_s:g} s (weights.fetch_timeout_s){after}")
        if last and now - self._moved > self._unavailable_s:
            raise RemoteError(f"nothing came for {self._unavailable_s:g} s (weights.unavailable_timeout_s){after}")


class Peer:
    """The process at `url`. One request at a time; not thread-safe. Raises `Interrupted` where another try may help."""

    def __init__(self, url: str, token: TokenFile | None, silence_timeout_s: float) -> None:
        self.url = url
        self._token = token
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=silence_timeout_s)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, path: str) -> bytes | None:
        """Return a short answer; None for 404. Raises `RemoteError` for a refusal."""
        response = self._ask("GET", path)
        body = self._whole(response)
        return self._unless_refused(response, body)

    def offer(self, own_url: str, contents: list[str]) -> None:
        """Say that `own_url` serves these contents."""
        body = json.dumps({"url": own_url, "sha256": contents}).encode()
        response = self._ask("POST", "/holders", body, {"Content-Type": "application/json"})
        self._unless_refused(response, self._whole(response))

    def holders(self, sha256: str) -> list[str]:
        """Base URLs of some that serve this content."""
        body = self.get(f"/holders/{sha256}") or b'{"urls": []}'
        try:
            return [str(url) for url in json.loads(body)["urls"]]
        except (ValueError, LookupError, TypeError) as error:
            raise Interrupted(f"{self.url}: no list of holders") from error

    def read(self, sha256: str, start: int, size: int) -> Iterator[memoryview]:
        """Yield the bytes of a file of `size` bytes from `start` on; a view is good until the next one.

        Raises `RemoteError` if the peer has another file under this name.
        """
        response = self._ask("GET", f"/files/{sha256}", headers={"Range": f"bytes={start}-"} if start else {})
        wanted = HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK
        if response.status != wanted:
            if self._unless_refused(response, self._whole(response)) is None:
                raise RemoteError(f"{self.url}: has no {sha256[:12]}")
            raise RemoteError(f"{self.url}: answered {response.status} for bytes {start}-")
        if (announced := response.length) != size - start:
            self.close()
            raise RemoteError(f"{self.url}: {sha256[:12]} is to have {size - start} bytes more, it sends {announced}")
        yield from self._stream(response, size - start)

    def _stream(self, response: http.client.HTTPResponse, left: int) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        try:
            while left:
                read = response.readinto(buffer[: min(left, _BUFFER_BYTES)])
                if not read:
                    raise Interrupted(f"{self.url} broke off with {left} bytes to come")
                left -= read
                yield buffer[:read]
        except (OSError, http.client.HTTPException) as error:
            raise Interrupted(f"{self.url}: {_words(error)}") from error
        finally:
            if left:
                self.close()

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        authorization = {"Authorization": self._token.header().decode()} if self._token else {}
        try:
            self._connection.request(method, path, body, {**(headers or {}), **authorization})
            return self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Interrupted(f"{self.url}: {_words(error)}") from error

    def _whole(self, response: http.client.HTTPResponse) -> bytes:
        try:
            body = response.read(_MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Interrupted(f"{self.url}: {_words(error)}") from error
        if len(body) > _MAX_ANSWER:
            self.close()
            raise RemoteError(f"{self.url}: an answer of more than {_MAX_ANSWER} bytes")
        return body

    def _unless_refused(self, response: http.client.HTTPResponse, body: bytes) -> bytes | None:
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Interrupted(f"{self.url}: {response.status} {_text(body)}")
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise RemoteError(f"{self.url} refuses: {response.status} {_text(body)}")
        return body


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _text(body: bytes) -> str:
    return " ".join(body[:200].decode(errors="replace").split())
