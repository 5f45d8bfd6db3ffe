"""Wiring of the env server."""

import asyncio
import time
import uuid

import grpc.aio

from hiper._proto.env.v1 import env_service_pb2_grpc as stubs
from hiper.envs.configured import open_configured_source
from hiper.rpc import Listen, serve
from hiper.service import ServiceContext
from services.env_server.host import SessionHost
from services.env_server.servicer import SERVICE, EnvServicer

__all__ = ["main"]

_REAPS_PER_LEASE = 10


async def main(context: ServiceContext) -> None:
    """Serve the environment of the run until `context.stop`."""
    settings = context.config.env
    source = await asyncio.to_thread(open_configured_source, settings)
    host = SessionHost(source, settings, time.monotonic)
    servicer = EnvServicer(host, settings, incarnation=uuid.uuid4().hex)

    def add(server: grpc.aio.Server) -> None:
        stubs.add_EnvServiceServicer_to_server(servicer, server)

    async with serve(Listen.from_environment(), {SERVICE: add}) as server:
        context.health.set("service", True)
        context.log.info("env server ready", address=server.address, env=source.env, data_version=source.version)
        reaper = asyncio.create_task(_reap(host, settings.lease_s / _REAPS_PER_LEASE))
        await context.stop.wait()
        reaper.cancel()
    context.log.info("env server drained", sessions_left=len(host.table))


async def _reap(host: SessionHost, interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        host.reap()
