"""Neighbours of the rollout, scripted: an engine, a tokenizer of characters, environments, a task stream."""

import asyncio
import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from hiper._proto.trajectory.v1.trajectory_pb2 import Task, Trajectory
from hiper.config.sections import CompactPrompt, RolloutSettings, SamplingSettings
from hiper.envs.base import TaskPin
from hiper.errors import DataError
from hiper.plan_execute import CompactPromptBuilder, render_response
from hiper.rpc.env_client import EnvStep
from hiper.streams import Delivery, PublishedPolicy
from hiper.vocabulary import PolicyVersion, StopReason, Switch
from services.rollout.engine import Engine, Generation, Sampling
from services.rollout.episode import EpisodePlayer
from services.rollout.ports import Environment
from services.rollout.tokenizer import TurnTokenizer

EOS = 0


class CharTokenizer:
    """One token per character; id 0 ends a response."""

    all_special_ids = (EOS,)
    unk_token_id = None

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def decode(self, ids: list[int], **_: object) -> str:
        return "".join(map(chr, ids))

    def apply_chat_template(self, messages: list[dict[str, str]], **_: object) -> list[int]:
        return self.encode(f"<user>{messages[0]['content']}<assistant>")


def text_of(ids: bytes) -> str:
    """The text of recorded ids."""
    return "".join(
        chr(int.from_bytes(ids[i : i + 4], "little")) for i in range(0, len(ids), 4) if ids[i : i + 4] != bytes(4)
    )


@dataclass
class ScriptedEngine:
    """Answers turn `n` of every episode with `script[n]`, the last entry for ever."""

    script: list[str] = field(default_factory=lambda: [render_response(Switch.SWITCH, "go", "look")])
    version: PolicyVersion = field(default=PolicyVersion(0))
    calls: list[tuple[str, list[int], Sampling]] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """Requests of these episodes wait for their event."""
    failures: dict[str, Exception] = field(default_factory=dict)
    load_failures: list[Exception] = field(default_factory=list)
    loaded: list[tuple[Path, int]] = field(default_factory=list)

    async def generate(self, prompt_ids: list[int], sampling: Sampling, request_id: str) -> Generation:
        self.calls.append((request_id, prompt_ids, sampling))
        episode, turn = request_id.rsplit("#", 1)
        began = self.version
        await asyncio.sleep(0)
        if episode in self.failures:
            raise self.failures[episode]
        if episode in self.gates:
            await self.gates[episode].wait()
        text = self.script[min(int(turn), len(self.script) - 1)]
        ids = (*map(ord, text), EOS)
        logprobs = tuple(-0.25 * (index + 1) for index in range(len(ids)))
        return Generation(ids, logprobs, StopReason.STOP, began, self.version)

    async def load_weights(self, directory: Path, version: PolicyVersion) -> None:
        if self.load_failures:
            raise self.load_failures.pop(0)
        self.loaded.append((directory, version))
        self.version = version

    async def check(self) -> None:
        return

    async def close(self) -> None:
        return


@dataclass
class ScriptedEnv:
    """Episodes that end after `length` actions, won if `won`, or are truncated at the task's limit."""

    length: int = 2
    won: bool = True
    observation: str = "You see a box {step}. Your task is to: open the box."
    opened: set[str] = field(default_factory=set)
    open_sessions: set[str] = field(default_factory=set)
    actions: dict[str, list[str]] = field(default_factory=dict)
    fail_open: Exception | None = None
    fail_step: Exception | None = None
    max_steps: dict[str, int] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)
    """Seeds of the episodes opened, in order."""

    async def open(self, session_id: str, task_id: str, seed: int, max_steps: int) -> EnvStep:
        if self.fail_open:
            raise self.fail_open
        if not task_id:
            raise DataError("no task")
        self.opened.add(session_id)
        self.seeds.append(seed)
        self.open_sessions.add(session_id)
        self.actions[session_id], self.max_steps[session_id] = [], max_steps
        return EnvStep(self.observation.format(step=0), ("open box", "look"))

    def describe(self, session_id: str) -> TaskPin:
        assert session_id in self.open_sessions
        return TaskPin("t", "open_box", "train")

    async def step(self, session_id: str, action: str) -> EnvStep:
        await asyncio.sleep(0)
        if self.fail_step:
            raise self.fail_step
        played = self.actions[session_id]
        played.append(action)
        over = len(played) >= self.length
        return EnvStep(
            self.observation.format(step=len(played)),
            ("open box", "look"),
            reward=1.0 if over and self.won else 0.0,
            terminated=over,
            truncated=not over and len(played) >= self.max_steps[session_id],
            won=over and self.won,
            score=1.0 if over and self.won else 0.0,
            action_valid=action in ("open box", "look"),
        )

    async def close(self, session_id: str) -> None:
        self.open_sessions.discard(session_id)


class Stream:
    """A task stream with a pending list, and what was published."""

    def __init__(self, tasks: Collection[Task] = ()) -> None:
        self.waiting = [delivery(task, number) for number, task in enumerate(tasks)]
        self.pending: dict[str, Delivery] = {}
        self.acked: list[str] = []
        self.deduplicated: list[str] = []
        self.released: list[str] = []
        self.dead: list[tuple[str, str]] = []
        self.taken_over: set[str] = set()
        self.published: dict[str, Trajectory] = {}
        self.refuse: Exception | None = None
        self.events: list[str] = []
        self.beats = 0
        self.ack_gate: asyncio.Event | None = None
        """Acknowledgements wait for it."""

    async def receive(self, limit: int) -> list[Delivery]:
        assert limit > 0
        await asyncio.sleep(0.002)
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        self.pending |= {one.entry_id: one for one in taken}
        return taken

    async def ack(self, delivery: Delivery, *, deduplicated: bool = False) -> bool:
        if self.ack_gate:
            await self.ack_gate.wait()
        self.pending.pop(delivery.entry_id, None)
        self.acked.append(delivery.trajectory_id)
        self.events.append(f"ack {delivery.trajectory_id}")
        if deduplicated:
            self.deduplicated.append(delivery.trajectory_id)
        return True

    async def heartbeat(self, deliveries: Collection[Delivery]) -> frozenset[str]:
        self.beats += 1
        return frozenset(self.taken_over)

    async def release(self, deliveries: Collection[Delivery]) -> None:
        self.released += [one.trajectory_id for one in deliveries]

    async def dead_letter(self, delivery: Delivery, error: str) -> bool:
        self.pending.pop(delivery.entry_id, None)
        self.dead.append((delivery.trajectory_id, error))
        return True

    async def publish(self, trajectory: Trajectory) -> bool:
        await asyncio.sleep(0)
        if self.refuse:
            raise self.refuse
        name = trajectory.task.trajectory_id
        self.events.append(f"publish {name}")
        return self.published.setdefault(name, trajectory) is trajectory

    async def is_published(self, trajectory_id: str) -> bool:
        return trajectory_id in self.published


@dataclass
class Board:
    """The announced policy."""

    policy: PublishedPolicy | None = None

    async def read(self) -> PublishedPolicy | None:
        return self.policy


def task(number: int = 0, **changes: object) -> Task:
    fields: dict[str, object] = {
        "schema_version": 1,
        "run": "test",
        "trajectory_id": f"test/train-000000/{number}/0",
        "batch_id": "train-000000",
        "batch_size": 8,
        "group": number,
        "env": "alfworld",
        "task_id": f"game-{number}",
        "seed": 100 + number,
        "max_steps": 5,
        "temperature": 1.0,
    }
    return Task(**(fields | changes))  # type: ignore[arg-type]


def delivery(of: Task, number: int = 0) -> Delivery:
    return Delivery(f"{number}-0", of.SerializeToString(), 1, {"id": of.trajectory_id.encode()})


def player(engine: Engine, env: Environment, **changes: object) -> EpisodePlayer:
    fields: dict[str, object] = {
        "prompt": CompactPrompt(hidden_actions=()),
        "sampling": SamplingSettings(max_prompt_tokens=400, max_response_tokens=100),
    }
    settings = RolloutSettings.model_validate(fields | changes)
    builder = CompactPromptBuilder(settings.prompt)  # type: ignore[arg-type]
    tokenizer = TurnTokenizer(CharTokenizer(), builder, settings.sampling.max_prompt_tokens)  # type: ignore[arg-type]
    return EpisodePlayer(engine, env, tokenizer, settings, "rollout-0")


async def eventually(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    """Wait until a condition holds; fail after `deadline_s`."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - any condition, so nothing announces it
            await asyncio.sleep(0.001)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
