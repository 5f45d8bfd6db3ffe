"""Open channels that agree with our servers, and say what went wrong on them."""

from pathlib import Path

import grpc
import grpc.aio

from hiper import tracing
from hiper.rpc.auth import BearerClient, TokenFile
from hiper.rpc.listen import token_file_from_environment
from hiper.rpc.options import client_options
from hiper.rpc.tls import TlsFiles
from hiper.rpc.traces import TraceClient

__all__ = ["TRANSIENT", "explain", "open_channel"]

TRANSIENT = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
"""Codes that say nothing about the request: the peer is away, starting, or too slow."""


def open_channel(
    address: str, token_file: Path | None = None, tls: TlsFiles | None = None, server_name: str | None = None
) -> grpc.aio.Channel:
    """Open a channel to `host:port`; it connects at the first call.

    Token and TLS default to what the variables say (`HIPER_GRPC_TOKEN_FILE`, `hiper.rpc.tls`). `server_name` is the
    host the peer's certificate must be made out to, where that is not the one in `address`.
    """
    path = token_file or token_file_from_environment()
    interceptors: list[grpc.aio.ClientInterceptor] = [BearerClient(TokenFile(path))] if path else []
    if tracing.active():
        interceptors.append(TraceClient())
    files = tls or TlsFiles.from_environment()
    options = client_options()
    if files is None:
        return grpc.aio.insecure_channel(address, options=options, interceptors=interceptors)
    if server_name is not None:
        options.append(("grpc.ssl_target_name_override", server_name))
    return grpc.aio.secure_channel(address, files.for_client(), options=options, interceptors=interceptors)


def explain(error: grpc.aio.AioRpcError) -> str:
    """Return code and text of a failed call on one line."""
    return f"{error.code().name}: {' '.join((error.details() or 'no details').split())}"
