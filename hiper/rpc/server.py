"""Run a gRPC server: health, reflection, limits, authentication, and an end that lets calls finish.

A service is NOT_SERVING before the body of `serve` is entered and from the moment it is left; calls in flight then have
`Listen.grace_s` seconds.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from hiper import tracing
from hiper.errors import DependencyError
from hiper.rpc.auth import BearerServer, TokenFile
from hiper.rpc.listen import Listen
from hiper.rpc.options import server_options
from hiper.rpc.traces import TraceServer

__all__ = ["RunningServer", "serve"]


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers."""

    port: int
    address: str
    """`host:port` as bound."""


@asynccontextmanager
async def serve(
    listen: Listen, services: Mapping[str, Callable[[grpc.aio.Server], None]]
) -> AsyncIterator[RunningServer]:
    """Serve until the body ends. `services`: full name, e.g. `hiper.env.v1.EnvService` -> adds its servicer.

    Raises `DependencyError` if the address cannot be bound.
    """
    interceptors: list[grpc.aio.ServerInterceptor] = []
    if listen.token_file:
        interceptors.append(BearerServer(TokenFile(listen.token_file)))
    if tracing.active():
        interceptors.append(TraceServer())
    server = grpc.aio.server(interceptors=interceptors, options=server_options())
    for add in services.values():
        add(server)
    status = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    port = _bind(server, listen)
    await server.start()
    try:
        for name in ("", *services):
            await status.set(name, health_pb2.HealthCheckResponse.SERVING)
        yield RunningServer(port, f"{listen.address.rpartition(':')[0]}:{port}")
    finally:
        await status.enter_graceful_shutdown()
        await server.stop(listen.grace_s)


def _bind(server: grpc.aio.Server, listen: Listen) -> int:
    try:
        if listen.tls is None:
            port: int = server.add_insecure_port(listen.address)
        else:
            port = server.add_secure_port(listen.address, listen.tls.for_server())
    except RuntimeError as error:
        raise DependencyError(
            f"cannot listen on {listen.address}", "stop what holds the port, or choose another one"
        ) from error
    return port
