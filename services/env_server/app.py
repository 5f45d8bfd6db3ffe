"""Wiring of the env server."""

import asyncio
import os
import time
import uuid

import grpc.aio

from hiper._proto.env.v1 import env_service_pb2_grpc as stubs
from hiper.envs.configured import open_configured_source
from hiper.rpc import Listen, serve
from hiper.rpc.listen import OPENENV_VARIABLE
from hiper.service import ServiceContext
from services.env_server.host import SessionHost
from services.env_server.openenv import OpenEnvFront
from services.env_server.openenv_server import serve_openenv
from services.env_server.servicer import SERVICE, EnvServicer

__all__ = ["main"]

_REAPS_PER_LEASE = 10


async def main(context: ServiceContext) -> None:
    """Serve the environment of the run until `context.stop`."""
    settings = context.config.env
    source = await asyncio.to_thread(open_configured_source, settings)
    host = SessionHost(source, settings, time.monotonic)
    servicer = EnvServicer(host, settings, incarnation=uuid.uuid4().hex)
    front = OpenEnvFront(host, settings)

    def add(server: grpc.aio.Server) -> None:
        stubs.add_EnvServiceServicer_to_server(servicer, server)

    async with (
        serve(Listen.from_environment(), {SERVICE: add}) as server,
        serve_openenv(front, os.environ.get(OPENENV_VARIABLE)) as openenv,
    ):
        context.health.set("service", True)
        ready = {"address": server.address, "openenv": openenv, "env": source.env, "data_version": source.version}
        context.log.info("env server ready", **ready)
        reaper = asyncio.create_task(_reap(front, settings.lease_s / _REAPS_PER_LEASE))
        await context.stop.wait()
        reaper.cancel()
    context.log.info("env server drained", sessions_left=len(host.table))


async def _reap(front: OpenEnvFront, interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        front.renew()
        front.host.reap()
