"""`/healthz`, `/readyz`, `/metrics` and `/version` of every process, on a thread of their own.

They answer while the main loop computes, and are bound before any model is loaded. A service with an API of its own
serves that in its main loop, with `serve_here`.
"""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from hiper import __version__
from hiper.errors import DependencyError
from hiper.metrics import exposition
from hiper.service.health import Health

__all__ = ["HttpServer", "bind", "create_app", "parse_address", "serve_here"]


def create_app(component: str, health: Health) -> FastAPI:
    """Build the app that reports on `health`."""
    app = FastAPI(title=f"hiper {component}", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    def healthz() -> JSONResponse:
        alive = health.alive()
        return JSONResponse({"alive": alive}, 200 if alive else 503)

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        ready = health.ready()
        checks = {name: {"ok": check.ok, "detail": check.detail} for name, check in health.checks().items()}
        return JSONResponse({"ready": ready, "checks": checks}, 200 if ready else 503)

    @app.get("/metrics")
    def metrics(request: Request) -> Response:
        body, media_type = exposition(request.headers.get("accept", ""))
        return Response(body, media_type=media_type)

    @app.get("/version")
    def version() -> dict[str, str]:
        return {"component": component, "version": __version__}

    return app


def parse_address(address: str) -> tuple[str, int]:
    """Split `host:port`; raise `DependencyError` if it is neither."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise DependencyError(f"'{address}' is not an address", "write host:port, e.g. 127.0.0.1:8080")
    return host.strip("[]"), int(port)


class HttpServer:
    """Serves an app on a daemon thread; a context manager."""

    def __init__(self, app: FastAPI, address: str) -> None:
        host, port = parse_address(address)
        self._socket = bind(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2)
        )
        # Signals belong to the main thread.
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True, name="http")

    def __enter__(self) -> "HttpServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._socket.close()


@asynccontextmanager
async def serve_here(app: FastAPI, address: str, *, shared: bool = False, **options: Any) -> AsyncIterator[str]:
    """Serve `app` at `host:port` in this event loop until the body ends; yields the address as bound.

    `shared` as in `bind`, `options` are uvicorn's. Raises `DependencyError` if it cannot be bound.
    """
    plain = {"log_config": None, "access_log": False, "lifespan": "off", "timeout_graceful_shutdown": 2}
    with bind(*parse_address(address), shared=shared) as listener:
        server = _Server(uvicorn.Config(app, **{**plain, **options}))
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"{address.rpartition(':')[0]}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


class _Server(uvicorn.Server):
    """Leaves signals to the service."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a socket that listens on `host:port`; others may do so too if all of them are `shared`.

    Raises `DependencyError` if there can be none.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise DependencyError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            "stop what holds the port, or choose another one",
        ) from error
    return listener
