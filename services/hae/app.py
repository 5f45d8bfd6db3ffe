"""Wiring of the HAE service."""

import asyncio

from hiper.service import ServiceContext
from hiper.streams import GROUPS, Batches, Broker, Consumer, Janitor
from hiper.vocabulary import Stream
from services.hae.estimators import make_estimator
from services.hae.values import CriticClient
from services.hae.worker import HaeWorker

__all__ = ["main"]


async def main(context: ServiceContext) -> None:
    """Compute advantages and keep house in the broker until `context.stop`."""
    config = context.config
    estimator = make_estimator(config.hae)
    async with (
        CriticClient(config.hae) as critic,
        await Broker.connect(config.broker, config.run, context.name) as broker,
    ):
        await broker.join_run(config.supervisor.ready_timeout_s)
        consumer = Consumer(broker, Stream.SCORED, GROUPS[Stream.SCORED], context.name, prefetch=1)
        batches = Batches(broker, config.hae.group_timeout_s)
        worker = HaeWorker(consumer, batches, critic, estimator, config.broker.claim_idle_s)
        context.health.set("service", True)
        context.log.info("hae service ready", broker=broker.address, critic=config.hae.critic_address)
        async with asyncio.TaskGroup() as tasks:
            janitor = tasks.create_task(Janitor(broker, batches).run())
            await worker.run(context.stop)
            janitor.cancel()
