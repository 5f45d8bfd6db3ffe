"""Bearer tokens: read from a file, compared in constant time, read again when the file changes.

The health service answers without a token: a probe holds none.
"""

import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from hiper.errors import ConfigError

__all__ = ["BearerClient", "BearerServer", "TokenFile"]

_HEADER = "authorization"
_PUBLIC = ("/grpc.health.v1.Health/",)


class TokenFile:
    """A secret in a mounted file. Rotated secrets are picked up at the next call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = (-1, -1)
        self._header = b""
        self.header()

    def header(self) -> bytes:
        """Return `Bearer <token>`. Raises `ConfigError` if the file is missing or empty."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                token = self._path.read_text(encoding="utf-8").strip()
                if not token:
                    raise ConfigError(f"token file {self._path} is empty", "write the shared secret into it")
                self._stamp, self._header = stamp, f"Bearer {token}".encode()
        except OSError as error:
            raise ConfigError(f"cannot read token file {self._path}: {error.strerror}", "mount the secret") from error
        return self._header

    def accepts(self, given: str | bytes) -> bool:
        """Whether `given`, the value of an `authorization` header, holds the token."""
        return hmac.compare_digest(given.encode() if isinstance(given, str) else given, self.header())


class BearerServer(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Refuses every call but health checks that does not carry the token."""

    def __init__(self, token: TokenFile) -> None:
        self._token = token

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Let the call through or answer UNAUTHENTICATED."""
        if handler_call_details.method.startswith(_PUBLIC):
            return await continuation(handler_call_details)
        if self._token.accepts(dict(handler_call_details.invocation_metadata).get(_HEADER, "")):
            return await continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(_refuse)


class BearerClient(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]  # grpc has no types
    """Adds the token to every call."""

    def __init__(self, token: TokenFile) -> None:
        self._token = token

    async def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Awaitable[Any]], client_call_details: Any, request: Any
    ) -> Any:
        """Send `request` with the token."""
        metadata = grpc.aio.Metadata(*(client_call_details.metadata or ()))
        metadata.add(_HEADER, self._token.header().decode())
        return await continuation(client_call_details._replace(metadata=metadata), request)


async def _refuse(_request: object, context: grpc.aio.ServicerContext) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the bearer token is missing or wrong")
