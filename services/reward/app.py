"""Wiring of the reward service."""

from contextlib import aclosing

from hiper.service import ServiceContext
from hiper.streams import GROUPS, Batches, Broker, Consumer
from hiper.vocabulary import Stream
from services.reward.plugins import PluginTerms
from services.reward.terms import shaping_config
from services.reward.worker import RewardWorker

__all__ = ["main"]


async def main(context: ServiceContext) -> None:
    """Score trajectories of the run until `context.stop`."""
    config = context.config
    async with (
        aclosing(PluginTerms(config.reward)) as plugins,
        await Broker.connect(config.broker, config.run, context.name) as broker,
    ):
        await broker.join_run(config.supervisor.ready_timeout_s)
        consumer = Consumer(broker, Stream.RAW, GROUPS[Stream.RAW], context.name)
        batches = Batches(broker, config.hae.group_timeout_s)
        context.health.set("service", True)
        context.log.info("reward service ready", broker=broker.address, terms=sorted(config.reward.terms))
        await RewardWorker(consumer, batches, shaping_config(config.reward), plugins).run(context.stop)
