"""Wiring of the rollout service."""

import asyncio
from functools import partial

from hiper.errors import HiperError
from hiper.rpc.env_client import EnvClient
from hiper.service import ServiceContext
from hiper.streams import GROUPS, Broker, Consumer, PolicyBoard, Publisher
from hiper.vocabulary import Stream
from hiper.weights import open_source
from services.rollout.building import make_engine, make_player
from services.rollout.engine import Engine
from services.rollout.spool import Spool
from services.rollout.weights_sync import SyncBounds, SyncParts, WeightsSync
from services.rollout.worker import RolloutWorker, WorkerLimits, WorkerParts

__all__ = ["main"]

_CHECK_S = 5.0
"""Seconds between looks at the engine and the env servers; also the bound of one look."""
_RUN_APPEARS_S = 600.0
"""How long the learner may take to create the run: it may make a model first."""


async def main(context: ServiceContext) -> None:
    """Play tasks until `context.stop`."""
    config = context.config
    for check in ("broker", "engine", "weights", "env"):
        context.health.set(check, False, "starting")
    engine = make_engine(config)
    try:
        async with await Broker.connect(config.broker, config.run, context.name) as broker:
            async with asyncio.TaskGroup() as starting:
                starting.create_task(broker.join_run(_RUN_APPEARS_S))
                starting.create_task(engine.start())
            context.health.set("broker", True)
            async with EnvClient(config.env) as env:
                await _serve(context, broker, engine, env)
    finally:
        await engine.close()


async def _serve(context: ServiceContext, broker: Broker, engine: Engine, env: EnvClient) -> None:
    config = context.config
    bounds = SyncBounds(config.rollout.weights_poll_s, config.weights.fetch_timeout_s)
    with open_source(context.run_dir / "fetched" / context.name, config.weights) as source:
        parts = SyncParts(PolicyBoard(broker), source, engine)
        weights = WeightsSync(parts, bounds, partial(context.health.set, "weights"))
        worker = RolloutWorker(_parts(context, broker, engine, env, weights), WorkerLimits.of(config))
        async with asyncio.TaskGroup() as group:
            watchers = [
                group.create_task(weights.run()),
                group.create_task(_watch_engine(context, engine)),
                group.create_task(_watch_env(context, env)),
            ]
            context.health.set("service", True)
            await worker.run(context.stop)
            for watcher in watchers:
                watcher.cancel()


def _parts(
    context: ServiceContext, broker: Broker, engine: Engine, env: EnvClient, weights: WeightsSync
) -> WorkerParts:
    return WorkerParts(
        inbox=Consumer(broker, Stream.TASKS, GROUPS[Stream.TASKS], context.name),
        outbox=Publisher(broker),
        player=make_player(context.config, engine, env, context.name),
        weights=weights,
        spool=Spool(context.run_dir / "spool" / context.name, context.config.rollout.spool_max_mb * 2**20),
    )


async def _watch_engine(context: ServiceContext, engine: Engine) -> None:
    """Notice a dead engine even while no request runs. Raises `EngineDead`."""
    while True:
        await engine.check()
        context.health.set("engine", True)
        await asyncio.sleep(_CHECK_S)


async def _watch_env(context: ServiceContext, env: EnvClient) -> None:
    while True:
        try:
            async with asyncio.timeout(_CHECK_S):
                info = await env.info()
            context.health.set("env", True, f"{info.env} {info.data_version}")
        except (TimeoutError, HiperError) as error:
            context.health.set("env", False, str(error) or f"no env server answers within {_CHECK_S:g} s")
        await asyncio.sleep(_CHECK_S)
