"""A web server for downloads that can misbehave in the ways real ones do."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """Serves `content` at every path. Faults are used up one by one, then it behaves."""

    address: str
    content: bytes = b""
    faults: list[str] = field(default_factory=list)
    """`half` sends half of what it announces, `503` and `404` answer so, `page` sends a page, `other` another range."""
    knows_ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and range of every request."""


@contextmanager
def file_server(content: bytes) -> Iterator[FileServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            served.asked.append((self.path, wanted))
            _answer(self, served, wanted, served.faults.pop(0) if served.faults else "")

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # a client that has had enough

    server = Server(("127.0.0.1", 0), Handler)
    served = FileServer(f"http://127.0.0.1:{server.server_port}", content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(request: BaseHTTPRequestHandler, served: FileServer, wanted: str | None, fault: str) -> None:
    if fault.isdigit():
        request.send_error(int(fault))
        return
    found = re.fullmatch(r"bytes=(\d+)-", wanted or "") if served.knows_ranges else None
    start = int(found[1]) if found else 0
    if found and start >= len(served.content):
        request.send_error(416)
        return
    body = served.content[start:]
    request.send_response(206 if found else 200)
    if found:
        shown = 0 if fault == "other" else start
        request.send_header("Content-Range", f"bytes {shown}-{len(served.content) - 1}/{len(served.content)}")
    request.send_header("Content-Type", "text/html" if fault == "page" else "application/octet-stream")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body[: len(body) // 2] if fault == "half" else body)
