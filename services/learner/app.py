"""Wiring of the learner."""

import asyncio

import grpc.aio
import torch

from hiper._proto.critic.v1 import critic_service_pb2_grpc as stubs
from hiper.config import RunConfig
from hiper.config.sections import LearnerSettings
from hiper.rpc import Listen, serve
from hiper.rpc.env_client import EnvClient
from hiper.service import ServiceContext
from hiper.streams import GROUPS, Broker, Consumer, LearnerLease, PolicyBoard, TaskQueue
from hiper.vocabulary import Stream
from services.learner.critic_service import SERVICE, CriticServicer
from services.learner.loop import LearnerLoop, Ports
from services.learner.model import Critic, load_causal_lm
from services.learner.tasks import TaskPlan
from services.learner.trainer import Trainer

__all__ = ["main"]


async def main(context: ServiceContext) -> None:
    """Learn until the run is finished or `context.stop`."""
    config = context.config
    for check in ("broker", "model", "tasks"):
        context.health.set(check, False, "starting")
    trainer = await asyncio.to_thread(build_trainer, config)
    context.health.set("model", True, str(trainer.device))
    servicer = CriticServicer(trainer)

    def add(server: grpc.aio.Server) -> None:
        stubs.add_CriticServiceServicer_to_server(servicer, server)

    listen = Listen.from_environment(f"127.0.0.1:{config.learner.critic_port}")
    async with serve(listen, {SERVICE: add}), await Broker.connect(config.broker, config.run, context.name) as broker:
        await broker.create_run()
        context.health.set("broker", True)
        lease = LearnerLease(broker, config.learner.lease_ttl_s)
        context.log.info("lease acquired", generation=await lease.acquire())
        keeper = asyncio.create_task(lease.keep())
        work = asyncio.create_task(_learn(context, trainer, broker, lease))
        try:
            await asyncio.wait({keeper, work}, return_when=asyncio.FIRST_COMPLETED)
            if keeper.done():
                keeper.result()
            await work
        finally:
            keeper.cancel()
            work.cancel()
            await asyncio.gather(keeper, work, return_exceptions=True)
        await lease.release()


async def _learn(context: ServiceContext, trainer: Trainer, broker: Broker, lease: LearnerLease) -> None:
    config = context.config
    async with EnvClient(config.env) as env:
        train = await env.list_tasks(config.env.train_split)
        valid = await env.list_tasks(config.evaluation.split)
    plan = TaskPlan.build(config, train, valid)
    context.health.set("tasks", True, f"{len(plan.train)} to train on, {len(plan.panel)} to evaluate on")
    consumer = Consumer(broker, Stream.ADVANTAGES, GROUPS[Stream.ADVANTAGES], "learner", prefetch=256)
    ports = Ports(broker, consumer, TaskQueue(broker), lease, PolicyBoard(broker))
    loop = LearnerLoop(config, context.run_dir, plan, trainer, ports)
    await loop.recover()
    context.health.set("service", True)
    await loop.run(context.stop)


def build_trainer(config: RunConfig) -> Trainer:
    """Load actor, critic and, if the loss needs it, the reference."""
    settings = config.learner
    device = _prepare_torch(settings, config.seed)
    dtype = torch.float32 if settings.dtype == "float32" else torch.bfloat16
    actor = load_causal_lm(config.model, config.model.path, dtype, device)
    critic_base = load_causal_lm(config.model, config.model.critic_path or config.model.path, dtype, device)
    reference = None
    if settings.kl_coef > 0:
        reference = load_causal_lm(config.model, config.model.path, dtype, device).requires_grad_(False)
    return Trainer(actor, Critic.from_causal_lm(critic_base), reference, settings, config.seed)


def _prepare_torch(settings: LearnerSettings, seed: int) -> torch.device:
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(settings.deterministic, warn_only=True)
    if settings.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(settings.device)
