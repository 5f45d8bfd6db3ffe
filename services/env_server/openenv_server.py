"""The OpenEnv front as a web server: `/ws`, and beside it `/health`, `/metadata` and `/schema`.

It runs in the event loop of the gRPC service, because sessions belong to one thread. Every request but `/health` needs
the bearer token where there is one. A peer that answers no ping for `env.lease_s` loses its connection, and with it its
session.
"""

import importlib.util
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, WebSocket, WebSocketDisconnect
from pydantic import BaseModel

from hiper import __version__
from hiper.errors import DependencyError
from hiper.rpc import Listen
from hiper.rpc.auth import TokenFile
from hiper.rpc.listen import OPENENV_SHARED_VARIABLE, OPENENV_VARIABLE
from hiper.service.http import serve_here
from services.env_server.openenv import Action, Connection, Observation, OpenEnvFront, State

__all__ = ["create_app", "serve_openenv"]

_MAX_MESSAGE_BYTES = 64 * 1024
"""Longest message of a client; the longest action, escaped throughout, takes less than half."""
_PING_S = 20.0
_POLICY_VIOLATION = 1008


def create_app(front: OpenEnvFront, token: TokenFile | None) -> FastAPI:
    """Build the app in front of `front`."""
    source = front.host.source

    def authorised(authorization: Annotated[str, Header()] = "") -> None:
        if token is not None and not token.accepts(authorization):
            raise HTTPException(401, "the bearer token is missing or wrong")

    app = FastAPI(title=f"hiper {source.env}", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "healthy"}

    @app.get("/metadata", dependencies=[Depends(authorised)])
    def metadata() -> dict[str, str]:
        text = f"{source.env} ({source.version}), splits {', '.join(source.splits())}"
        return {"name": source.env, "description": text, "version": __version__}

    @app.get("/schema", dependencies=[Depends(authorised)])
    def schema() -> dict[str, Any]:
        models: dict[str, type[BaseModel]] = {"action": Action, "observation": Observation, "state": State}
        return {name: model.model_json_schema() for name, model in models.items()}

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        if token is not None and not token.accepts(websocket.headers.get("authorization", "")):
            await websocket.close(_POLICY_VIOLATION)  # before it was accepted: HTTP 403
            return
        await websocket.accept()
        connection = front.connect()
        if not isinstance(connection, Connection):
            await websocket.send_json(connection)
            await websocket.close()
            return
        try:
            await _converse(websocket, connection)
        except WebSocketDisconnect:
            pass
        finally:
            connection.end()

    return app


async def _converse(websocket: WebSocket, connection: Connection) -> None:
    while True:
        frame = await websocket.receive()
        if frame["type"] == "websocket.disconnect":
            return
        reply = connection.answer(frame.get("text") or "")
        if reply is None:
            await websocket.close()
            return
        await websocket.send_json(reply)


@asynccontextmanager
async def serve_openenv(front: OpenEnvFront, address: str | None) -> AsyncIterator[str | None]:
    """Serve at `address` until the body ends; yields the address as bound. Without an address nothing is served.

    Raises `ConfigError` for an address beyond loopback without a token, and `DependencyError` if it cannot be bound or
    there is no WebSocket library.
    """
    if not address:
        yield None
        return
    listen = Listen(address, Listen.from_environment().token_file)
    if importlib.util.find_spec("websockets") is None:
        raise DependencyError(f"{OPENENV_VARIABLE} needs the package websockets", "pip install 'hiper-rl[openenv]'")
    app = create_app(front, TokenFile(listen.token_file) if listen.token_file else None)
    options = {
        "ws_max_size": _MAX_MESSAGE_BYTES,
        "ws_ping_interval": _PING_S,
        "ws_ping_timeout": front.settings.lease_s,
        "timeout_graceful_shutdown": round(listen.grace_s),
    }
    async with serve_here(app, address, shared=OPENENV_SHARED_VARIABLE in os.environ, **options) as bound:
        yield bound
