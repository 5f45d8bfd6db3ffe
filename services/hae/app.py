"""Wiring of the HAE service."""

import asyncio
from contextlib import closing

import grpc.aio

from hiper._proto.hae.v1 import hae_service_pb2_grpc as stubs
from hiper.rpc import Listen, serve
from hiper.service import ServiceContext
from hiper.streams import GROUPS, Batches, Broker, Consumer, Janitor
from hiper.vocabulary import Stream
from services.hae.detectors import Detectors
from services.hae.estimators import make_estimator
from services.hae.servicer import SERVICE, HaeServicer
from services.hae.values import value_source
from services.hae.worker import HaeWorker

__all__ = ["main"]


async def main(context: ServiceContext) -> None:
    """Compute advantages, of batches and on request, and keep house in the broker until `context.stop`."""
    config = context.config
    estimator = make_estimator(config.hae)
    servicer = HaeServicer(config.hae)

    def add(server: grpc.aio.Server) -> None:
        stubs.add_HaeServiceServicer_to_server(servicer, server)

    async with (
        value_source(config.hae) as critic,
        await Broker.connect(config.broker, config.run, context.name) as broker,
    ):
        await broker.join_run(config.supervisor.ready_timeout_s)
        consumer = Consumer(broker, Stream.SCORED, GROUPS[Stream.SCORED], context.name, prefetch=1)
        batches = Batches(broker, config.hae.group_timeout_s)
        worker = HaeWorker(consumer, batches, critic, estimator, Detectors(config.hae.detectors))
        with closing(servicer):
            async with serve(Listen.from_environment(), {SERVICE: add}) as server, asyncio.TaskGroup() as tasks:
                context.health.set("service", True)
                context.log.info(
                    "hae service ready",
                    broker=broker.address,
                    critic=config.hae.critic_address,
                    address=server.address,
                )
                janitor = tasks.create_task(Janitor(broker, batches).run())
                await worker.run(context.stop)
                janitor.cancel()
