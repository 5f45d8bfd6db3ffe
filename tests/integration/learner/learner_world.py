"""Everything around a learner: a real broker, a model on disk, and one process that plays, scores and hands on.

What it plays is a function of the trajectory's id alone, so two runs see the same trajectories whatever was killed.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from panels_made import made_panels
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from hiper._proto.common.v1.types_pb2 import TASK_KIND_TRAIN, LevelValues, TokenSpan
from hiper._proto.trajectory.v1.trajectory_pb2 import Outcome, Task, Trajectory, Turn
from hiper.config import RunConfig, parse_config
from hiper.embedded_broker import RunningBroker, resolve_broker, start
from hiper.streams import (
    GROUPS,
    Batches,
    Broker,
    Consumer,
    LearnerLease,
    PipelineState,
    PolicyBoard,
    Publisher,
    TaskQueue,
    snapshot,
)
from hiper.vocabulary import Stream
from services.learner.build import build_trainer
from services.learner.checkpoint import newest_generation
from services.learner.loop import CHECKPOINTS, LearnerLoop, Ports
from services.learner.panels import RunPanels
from services.learner.tasks import TaskPlan
from services.learner.trainer import Trainer

RUN = "test"
VOCABULARY = 40
DEADLINE_S = 60.0


class Crash(BaseException):
    """Stands for `kill -9`: nothing in the product may catch it."""


def write_model(directory: Path) -> None:
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        Qwen2ForCausalLM(config).save_pretrained(directory)
    words = {"<unk>": 0} | {f"w{index}": index for index in range(1, VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(directory)


def run_tree(model: Path, **learner: Any) -> dict[str, Any]:
    step = {"lr": 0.01, "epochs": 1, "minibatch_rows": 8}
    settings = {
        "tasks_per_batch": 2,
        "samples_per_task": 2,
        "iterations": 4,
        "actor": step,
        "critic": step,
        "micro_tokens": 100,
        "dtype": "float32",
        "device": "cpu",
        "threads": 1,
        "lease_ttl_s": 0.3,
        "batch_timeout_s": 30.0,
        "keep_checkpoints": 3,
    }
    return {
        "run": RUN,
        "model": {"path": str(model)},
        "broker": {"block_ms": 50, "socket_timeout_s": 2.0, "connect_timeout_s": 1.0, "unavailable_timeout_s": 10.0},
        "learner": {**settings, **learner},
        "evaluation": {"every": 2},
    }


def play(task: Task) -> Trajectory:
    """An episode with made-up tokens, values and advantages."""
    random = np.random.default_rng(list(hashlib.sha256(task.trajectory_id.encode()).digest()))
    turns = []
    for index in range(random.integers(2, 4)):
        response = random.integers(0, VOCABULARY, 9).astype("<i4")
        levels = [LevelValues(**{level: random.normal() for level in ("low", "high", "switch")}) for _ in range(3)]
        turns.append(
            Turn(
                index=index,
                prompt_ids=random.integers(0, VOCABULARY, random.integers(3, 12)).astype("<i4").tobytes(),
                response_ids=response.tobytes(),
                response_logprobs=np.full(9, -3.0, "<f4").tobytes(),
                policy_version_start=task.min_policy_version,
                policy_version_end=task.min_policy_version,
                is_switch=index == 0,
                switch_span=TokenSpan(start=0, end=3),
                subgoal_span=TokenSpan(start=3, end=5),
                action_span=TokenSpan(start=5, end=8),
                value_low_position=5,
                reward=float(random.normal()),
                values=levels[0],
                advantages=levels[1],
                returns=levels[2],
            )
        )
    outcome = Outcome(won=bool(random.integers(0, 2)), terminated=True)
    kind = "pick" if task.task_id.endswith(("0", "2")) else "heat"
    return Trajectory(schema_version=1, task=task, task_type=kind, outcome=outcome, turns=turns)


def _as_played(trajectory: Trajectory) -> Trajectory:
    return trajectory


def _never(_batch_id: str) -> bool:
    return False


@dataclass
class World:
    """One broker, one run, and the learners of this test."""

    directory: Path
    running: RunningBroker
    tree: dict[str, Any]
    broker: Broker
    played: list[str] = field(default_factory=list)
    """Trajectory ids, in order."""
    change: Callable[[Trajectory], Trajectory] = _as_played
    """What becomes of a trajectory before it is published."""
    holds: Callable[[str], bool] = _never
    """Whether a batch is not handed on yet."""
    panels: RunPanels = field(default_factory=lambda: made_panels(train=6, evaluation=3))

    def config(self, **learner: Any) -> RunConfig:
        tree = {**self.tree, "learner": {**self.tree["learner"], **learner}}
        return parse_config(tree, source="test", environment={})

    async def learner(self, run_dir: Path | None = None, *, broker: Broker | None = None, **settings: Any) -> "Learner":
        """A learner that holds the lease, as after a start of its process."""
        config, broker = self.config(**settings), broker or self.broker
        trainer = build_trainer(config)
        run_dir = run_dir or self.directory
        lease = LearnerLease(broker, config.learner.lease_ttl_s)
        await lease.acquire(above=newest_generation(run_dir / CHECKPOINTS))
        consumer = Consumer(broker, Stream.ADVANTAGES, GROUPS[Stream.ADVANTAGES], "learner")
        ports = Ports(broker, consumer, TaskQueue(broker), lease, PolicyBoard(broker))
        loop = LearnerLoop(config, run_dir, TaskPlan(config, self.panels), trainer, ports)
        return Learner(run_dir, trainer, loop, ports)

    async def play_on(self) -> None:
        """Rollout, reward and HAE in one, until cancelled."""
        streams = (Stream.TASKS, Stream.RAW, Stream.SCORED)
        tasks, raw, scored = (Consumer(self.broker, stream, GROUPS[stream], "world") for stream in streams)
        batches, publisher = Batches(self.broker), Publisher(self.broker)
        held = []
        while True:
            for delivery in await tasks.receive(64):
                self.played.append(delivery.trajectory_id)
                await publisher.publish(self.change(play(delivery.task())))
                await tasks.ack(delivery)
            for delivery in await raw.receive(64):
                await batches.add_member(delivery, delivery.trajectory())
            held += await scored.receive(8)
            for delivery in [one for one in held if not self.holds(one.batch_id)]:
                held.remove(delivery)
                ready = delivery.batch_ready()
                members = await batches.members(ready.batch_id)
                for member in members:
                    if member.task.kind != TASK_KIND_TRAIN:
                        for turn in member.turns:
                            turn.ClearField("advantages")
                await batches.hand_off(delivery, ready, members)

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        player = asyncio.create_task(self.play_on())
        try:
            yield
        finally:
            player.cancel()
            await asyncio.gather(player, return_exceptions=True)

    async def plays(self, batch_id: str) -> None:
        """Wait until an episode of the batch was played."""
        await eventually(lambda: any(batch_id in trajectory for trajectory in self.played))

    async def state(self) -> PipelineState:
        """The pipeline now; the conservation law holds at every instant."""
        measured = await snapshot(self.broker)
        assert measured.gap == 0, measured
        return measured


@dataclass
class Learner:
    """One life of a learner process."""

    run_dir: Path
    trainer: Trainer
    loop: LearnerLoop
    ports: Ports

    async def finish(self) -> None:
        await self.loop.recover()
        await asyncio.wait_for(self.loop.run(asyncio.Event()), DEADLINE_S)

    def parameters(self) -> list[torch.Tensor]:
        return [p.detach() for part in self.trainer.trained.values() for p in part.model.parameters()]


async def eventually(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, "the condition did not come true in time"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def new_world(directory: Path, **broker: Any) -> AsyncIterator[World]:
    model = directory / "model"
    write_model(model)
    tree = run_tree(model)
    tree["broker"] |= broker
    config = parse_config(tree, source="test", environment={})
    running = await start(resolve_broker(config.broker, directory / "broker"))
    try:
        settings = config.broker.model_copy(update={"url": running.launch.url})
        async with await Broker.connect(settings, RUN, "test") as broker:
            await broker.create_run()
            yield World(directory, running, tree, broker)
    finally:
        await running.stop()
