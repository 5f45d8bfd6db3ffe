"""Wiring of the env server."""

import asyncio
import time
import uuid

import grpc.aio

from hiper._proto.env.v1 import env_service_pb2_grpc as stubs
from hiper.envs.base import Episode
from hiper.envs.configured import open_configured_source
from hiper.rpc import Listen, serve
from hiper.service import ServiceContext
from services.env_server.servicer import SERVICE, EnvServicer
from services.env_server.sessions import SessionSpec, SessionTable

__all__ = ["main"]

_REAPS_PER_LEASE = 10


async def main(context: ServiceContext) -> None:
    """Serve the environment of the run until `context.stop`."""
    settings = context.config.env
    source = await asyncio.to_thread(open_configured_source, settings)

    def open_episode(spec: SessionSpec) -> Episode:
        return source.open(source.resolve(spec.task_id), seed=spec.seed, max_steps=spec.max_steps)

    table = SessionTable(
        open_episode, max_sessions=settings.max_sessions, lease_s=settings.lease_s, clock=time.monotonic
    )
    servicer = EnvServicer(source, table, settings, incarnation=uuid.uuid4().hex)

    def add(server: grpc.aio.Server) -> None:
        stubs.add_EnvServiceServicer_to_server(servicer, server)

    async with serve(Listen.from_environment(), {SERVICE: add}) as server:
        context.health.set("service", True)
        context.log.info("env server ready", address=server.address, env=source.env, data_version=source.version)
        reaper = asyncio.create_task(_reap(table, servicer, settings.lease_s / _REAPS_PER_LEASE))
        await context.stop.wait()
        reaper.cancel()
    context.log.info("env server drained", sessions_left=len(table))


async def _reap(table: SessionTable, servicer: EnvServicer, interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        table.reap()
        servicer.observe()
