"""Wiring of the rollout."""

import asyncio

from hiper.plan_execute import make_builder
from hiper.rpc.env_client import EnvClient
from hiper.service import ServiceContext
from hiper.streams import GROUPS, Broker, Consumer, PolicyBoard, Publisher
from hiper.vocabulary import Stream
from services.rollout.engine import Engine
from services.rollout.episode import EpisodePlayer
from services.rollout.spool import Spool
from services.rollout.tokenizer import TurnTokenizer, load_tokenizer
from services.rollout.vllm_engine import VllmEngine
from services.rollout.weights_sync import WeightsSync
from services.rollout.worker import RolloutWorker

__all__ = ["main"]

_ENGINE_CHECK_S = 5.0
_RUN_APPEARS_S = 600.0
"""How long the learner may take to create the run."""


async def main(context: ServiceContext) -> None:
    """Play tasks until `context.stop`."""
    config = context.config
    for check in ("broker", "engine", "weights"):
        context.health.set(check, False, "starting")
    engine = VllmEngine(config)
    try:
        async with await Broker.connect(config.broker, config.run, context.name) as broker:
            await asyncio.gather(broker.join_run(_RUN_APPEARS_S), engine.start())
            context.health.set("broker", True)
            context.health.set("engine", True)
            async with EnvClient(config.env) as env:
                await _work(context, broker, engine, env)
    finally:
        await engine.close()


async def _work(context: ServiceContext, broker: Broker, engine: Engine, env: EnvClient) -> None:
    config, settings = context.config, context.config.rollout
    builder = make_builder(settings.prompt, config.env.name)
    tokenizer = TurnTokenizer(load_tokenizer(config.model), builder, settings.sampling.max_prompt_tokens)
    weights = WeightsSync(PolicyBoard(broker), engine, settings.weights_poll_s)
    worker = RolloutWorker(
        Consumer(broker, Stream.TASKS, GROUPS[Stream.TASKS], context.name, prefetch=settings.concurrent_episodes),
        Publisher(broker),
        EpisodePlayer(engine, env, tokenizer, settings, context.name),
        weights,
        Spool(context.run_dir / "spool" / context.name, settings.spool_max_mb * 2**20),
        slots=settings.concurrent_episodes,
        claim_idle_s=config.broker.claim_idle_s,
    )
    async with asyncio.TaskGroup() as group:
        background = [group.create_task(weights.run()), group.create_task(_watch(engine))]
        await weights.wait_for(0)
        context.health.set("weights", True, f"policy version {engine.version}")
        context.health.set("service", True)
        await worker.run(context.stop, settings.drain_timeout_s)
        for task in background:
            task.cancel()


async def _watch(engine: Engine) -> None:
    """Notice a dead engine even while no request runs."""
    while True:
        await asyncio.sleep(_ENGINE_CHECK_S)
        await engine.check()
