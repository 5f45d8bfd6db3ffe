"""Wiring of the learner."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from hiper.errors import ConfigError, DataError, ExitCode
from hiper.report import RunFiles
from hiper.rpc.env_client import EnvClient
from hiper.service import ServiceContext
from hiper.streams import GROUPS, Broker, Consumer, LearnerLease, PolicyBoard, TaskQueue
from hiper.vocabulary import Stream
from hiper.weights.front import open_front
from services.learner.build import build_trainer
from services.learner.checkpoint import newest_generation
from services.learner.critic_service import serving_values
from services.learner.loop import CHECKPOINTS, LearnerLoop, Ports
from services.learner.panels import choose_panels
from services.learner.tasks import TaskPlan
from services.learner.trainer import Trainer

__all__ = ["main"]

T = TypeVar("T")


async def main(context: ServiceContext) -> None:
    """Learn until the run is finished or `context.stop`, then do as `learner.when_done` says."""
    idles = context.config.learner.when_done == "idle"
    if not (idles and _is_done(context)):
        await _train(context)
    if idles and _is_done(context):
        await _rest(context)


async def _train(context: ServiceContext) -> None:
    config = context.config
    critic = ("critic",) if config.hae.estimator.needs_critic else ()
    for check in ("tasks", "model", "broker", *critic):
        context.health.set(check, False, "starting")
    # First of all, since a large model takes minutes to load. The processes beside the first one do as that says.
    leads = os.environ.get("RANK", "0") == "0"
    plan = await _unless_stopped(context.stop, _plan(context)) if leads else None
    if context.stop.is_set():
        return
    trainer = await _unless_stopped(context.stop, asyncio.to_thread(build_trainer, config))
    if trainer is None:
        # The thread that loads, or waits for the other processes, cannot be ended. It holds nothing yet.
        context.log.info("stopped while loading")
        os._exit(int(ExitCode.OK))
    context.health.set("model", True, str(trainer.device))
    if await asyncio.to_thread(trainer.follow) or plan is None:
        return
    with trainer.leading():
        await _lead(context, trainer, plan)


def _is_done(context: ServiceContext) -> bool:
    return RunFiles(context.run_dir).done(context.config.learner.iterations)


async def _rest(context: ServiceContext) -> None:
    """Be ready until `context.stop`: whoever restarts what exits would load the model again, for nothing."""
    for check in {"service", *context.health.checks()}:
        context.health.set(check, True, "the run is at its end")
    context.log.info("the run is at its end; nothing is left to do")
    await context.stop.wait()


async def _lead(context: ServiceContext, trainer: Trainer, plan: TaskPlan) -> None:
    config = context.config
    # An entry waits here for as long as its batch takes, over any number of restarts; how often it was delivered says
    # nothing about it.
    broker_settings = config.broker.model_copy(update={"max_deliveries": sys.maxsize})
    async with await Broker.connect(broker_settings, config.run, context.name) as broker:
        await broker.create_run()
        context.health.set("broker", True)
        lease = LearnerLease(broker, config.learner.lease_ttl_s)
        above = newest_generation(context.run_dir / CHECKPOINTS)
        if await _unless_stopped(context.stop, lease.acquire(above=above)) is None:
            return
        context.log.info("lease acquired", generation=lease.generation)
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(lease.keep())
            await _learn(context, trainer, plan, broker, lease)
            keeper.cancel()
        await lease.release()


async def _learn(
    context: ServiceContext, trainer: Trainer, plan: TaskPlan, broker: Broker, lease: LearnerLease
) -> None:
    """Runs beside the keeper of the lease, and is cancelled if that loses it."""
    config = context.config
    consumer = Consumer(broker, Stream.ADVANTAGES, GROUPS[Stream.ADVANTAGES], "learner")
    with open_front(config.weights) as front:
        ports = Ports(broker, consumer, TaskQueue(broker), lease, PolicyBoard(broker), front)
        loop = LearnerLoop(config, context.run_dir, plan, trainer, ports)
        # Values come from the restored critic, and from the holder of the lease, only.
        await loop.recover()
        async with serving_values(context, trainer):
            context.health.set("service", True)
            await loop.run(context.stop)


async def _plan(context: ServiceContext) -> TaskPlan:
    """Raises `ConfigError` where settings, panels and data do not go together: starting again would not help."""
    async with EnvClient(context.config.env) as env:
        try:
            panels = await choose_panels(context.config, env)
        except DataError as error:
            raise ConfigError(error.message, error.hint) from error
    sizes = f"{len(panels.train.tasks)} to train on, {len(panels.evaluation.tasks)} to evaluate on"
    context.health.set("tasks", True, f"{sizes} ({panels.evaluation.name})")
    return TaskPlan(context.config, panels)


async def _unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of `work`, or None if `stop` comes first."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
