"""Files of published versions, served over HTTP to those who know their sha256.

    GET  /files/<sha256>      the bytes; one `Range` is understood; 503 while every upload slot is taken
    GET  /deltas/<sha256>     the manifest of the delta to the version whose manifest has this sha256
    GET  /holders/<sha256>    {"urls": [...]}: others who offered to serve these bytes, a few of them, at random
    POST /holders             {"url": "http://host:port", "sha256": [...]}: such an offer

Contents have no other names, so there is no path to walk out of and no file of two versions to mix up. Every request
carries the bearer token where there is one. Every bound is here: connections, uploads, body sizes, offers kept.
"""

import json
import random
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from typing import Any

from hiper.config.weights import BASE_URL, WeightsSettings
from hiper.errors import ConfigError
from hiper.metrics import counter
from hiper.rpc.auth import TokenFile
from hiper.rpc.listen import Listen, token_file_from_environment
from hiper.service.http import bind, parse_address
from hiper.weights.manifest import MANIFEST, read_manifest

__all__ = ["Shelf", "serve_weights"]

_MAX_CONNECTIONS = 512
_MAX_BODY = 64 * 1024
_MAX_OFFERS = 4096
"""Contents whose holders are remembered; the oldest go first."""
_MAX_HOLDERS = 1024
"""Holders remembered of one content."""
_SHOWN_HOLDERS = 8
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?")


class Shelf:
    """What a process serves, and who else has it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.sent_bytes = 0
        self._files: dict[str, Path] = {}
        self._deltas: dict[str, bytes] = {}
        self._holders: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    def put(self, sha256: str, path: Path) -> None:
        """Serve the file at `path`, which has been verified, under its hash."""
        with self._lock:
            self._files[sha256] = path
            for gone in [known for known, path in self._files.items() if not path.exists()]:
                del self._files[gone]

    def put_version(self, directory: Path) -> None:
        """Serve a version, or a delta, with all its files and its manifest."""
        manifest = read_manifest(directory)
        for file in manifest.files:
            self.put(file.sha256, directory / file.name)
        self.put(manifest.sha256, directory / MANIFEST)
        if target := str(manifest.metadata.get("target_sha256", "")):
            self.put_delta(target, (directory / MANIFEST).read_bytes())

    def put_delta(self, target_sha256: str, manifest: bytes) -> None:
        """Tell of a delta to the version of that manifest; only the newest is remembered."""
        with self._lock:
            self._deltas = {target_sha256: manifest}

    def count(self, sent: int) -> None:
        """Note bytes that were sent."""
        counter("weights_sent_bytes_total").inc(sent)
        with self._lock:
            self.sent_bytes += sent

    def find(self, sha256: str) -> Path | None:
        """Where the content lies, if it is here."""
        with self._lock:
            return self._files.get(sha256)

    def delta(self, target_sha256: str) -> bytes | None:
        """The manifest of the delta to that version, if there is one."""
        with self._lock:
            return self._deltas.get(target_sha256)

    def offer(self, url: str, contents: Iterable[str]) -> None:
        """Remember that the process at `url` serves these contents."""
        with self._lock:
            for sha256 in contents:
                holders = self._holders.setdefault(sha256, OrderedDict())
                holders[url] = None
                _keep_newest(holders, _MAX_HOLDERS)
            _keep_newest(self._holders, _MAX_OFFERS)

    def holders(self, sha256: str) -> list[str]:
        """A few of the processes that offered this content, at random, so that they share the load."""
        with self._lock:
            known = list(self._holders.get(sha256, ()))
        return random.sample(known, min(len(known), _SHOWN_HOLDERS))


def _keep_newest(kept: OrderedDict[str, Any], limit: int) -> None:
    while len(kept) > limit:
        kept.popitem(last=False)


@contextmanager
def serve_weights(shelf: Shelf, settings: WeightsSettings) -> Iterator[str]:
    """Serve `shelf` on threads of its own for the length of the block; yields the base URL others reach it under.

    Raises `ConfigError` for an address beyond loopback without a token, and where others cannot know the address.
    """
    listen = Listen(settings.address, token_file_from_environment())
    host, port = parse_address(settings.address)
    if settings.advertise is None and host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        raise ConfigError(
            f"weights.address {settings.address} tells others no host", "set weights.advertise to http://host:port"
        )
    token = TokenFile(listen.token_file) if listen.token_file is not None else None
    server = _Server(bind(host, port), shelf, token, settings)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True, name="weights")
    thread.start()
    try:
        shown = f"[{host}]" if ":" in host else host
        yield settings.advertise or f"http://{shown}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    """One thread a connection, which mostly waits in sendfile: the learner's Python is left alone."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket, shelf: Shelf, token: TokenFile | None, settings: WeightsSettings) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.shelf = shelf
        self.token = token
        self.slots = threading.BoundedSemaphore(settings.upload_slots)
        self._connections = threading.BoundedSemaphore(_MAX_CONNECTIONS)

    def process_request(self, request: socket, client_address: object) -> None:  # type: ignore[override]
        """Give the connection a thread, or close it if there are too many."""
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket, client_address: object) -> None:  # type: ignore[override]
        """Answer a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away: it comes again and goes on where it was."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "hiper"
    sys_version = ""
    timeout = 30
    """Seconds a peer may neither send nor take a byte."""
    server: _Server

    def do_GET(self) -> None:
        """Answer a GET."""
        kind, _, sha256 = self.path.lstrip("/").partition("/")
        if not self._authorised():
            return
        if not _SHA256.fullmatch(sha256):
            self._refuse(HTTPStatus.NOT_FOUND, "contents are named by their sha256")
        elif kind == "files":
            self._send_file(sha256)
        elif kind == "deltas":
            manifest = self.server.shelf.delta(sha256)
            self._send(manifest) if manifest else self._refuse(HTTPStatus.NOT_FOUND, "no delta to this version")
        elif kind == "holders":
            self._send(json.dumps({"urls": self.server.shelf.holders(sha256)}).encode())
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there are files, deltas and holders here")

    def do_POST(self) -> None:
        """Answer a POST."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_BODY:
            self.close_connection = True
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"say a length of at most {_MAX_BODY} bytes")
            return
        body = self.rfile.read(int(length))
        if not self._authorised():
            return
        offer = _offer(body) if self.path == "/holders" else None
        if offer is None:
            self._refuse(HTTPStatus.BAD_REQUEST, "no offer: url and sha256 are wanted")
            return
        self.server.shelf.offer(*offer)
        self._send(b"{}")

    def _authorised(self) -> bool:
        token = self.server.token
        if token is None or token.accepts(self.headers.get("Authorization", "")):
            return True
        self._refuse(HTTPStatus.UNAUTHORIZED, "the bearer token is missing or wrong")
        return False

    def _send_file(self, sha256: str) -> None:
        path = self.server.shelf.find(sha256)
        if path is None:
            self._refuse(HTTPStatus.NOT_FOUND, "not here (any more)")
            return
        if not self.server.slots.acquire(blocking=False):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "every upload slot is taken")
            return
        try:
            self._send_range(path)
        finally:
            self.server.slots.release()

    def _send_range(self, path: Path) -> None:
        try:
            file = path.open("rb")
        except OSError:
            self._refuse(HTTPStatus.NOT_FOUND, "not here any more")
            return
        with file:
            size = path.stat().st_size
            span = _span(self.headers.get("Range"), size)
            if span is None:
                self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"one range within {size} bytes is wanted")
                return
            start, end = span
            self.send_response(HTTPStatus.OK if end - start == size else HTTPStatus.PARTIAL_CONTENT)
            if end - start != size:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            self.wfile.flush()
            sent = self.connection.sendfile(file, start, end - start) if end > start else 0
            self.server.shelf.count(sent)
            self.close_connection = sent != end - start

    def _send(self, body: bytes, status: HTTPStatus = HTTPStatus.OK, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._send(f"{why}\n".encode(), status, "text/plain; charset=utf-8")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: transfers are counted, and failures are the client's to tell."""


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """The half-open range asked for; None for one that is not within the file."""
    if header is None:
        return 0, size
    found = _RANGE.fullmatch(header.strip())
    if found is None:
        return None
    start = int(found[1])
    end = size if found[2] is None else min(int(found[2]) + 1, size)
    return (start, end) if start < end else None


def _offer(body: bytes) -> tuple[str, list[str]] | None:
    try:
        tree = json.loads(body)
        url, contents = str(tree["url"]), [str(sha256) for sha256 in tree["sha256"]]
    except (ValueError, LookupError, TypeError):
        return None
    sound = BASE_URL.fullmatch(url) and all(map(_SHA256.fullmatch, contents))
    return (url, contents) if sound else None
