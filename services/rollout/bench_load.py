"""What `hiper bench rollout` plays: ALFWorld games of this package, with the lengths of a trained policy's episodes.

A model of random weights solves nothing, so the lengths are drawn: an episode ends as won after a detour on its game's
walkthrough, or runs into the limit of 50 turns; a response has the length the reference's logs show (mean 42 tokens).
All of it is a function of the task and the turn: every driver plays the very same.
"""

import random
from dataclasses import dataclass, replace

from hiper._proto.trajectory.v1.trajectory_pb2 import Task
from hiper.envs.alfworld.engine import AlfworldEpisode
from hiper.envs.alfworld.model import Game
from hiper.envs.base import StepResult, TaskPin
from hiper.plan_execute import EpisodeState, PromptBuilder, PromptInput, task_of
from services.rollout.engine import Generation, Generator, Sampling

__all__ = [
    "MAX_STEPS",
    "RESPONSE_MOST",
    "Call",
    "PacedEngine",
    "PlayedEnv",
    "make_tasks",
    "response_tokens",
    "words_of",
]

MAX_STEPS = 50
_WON = 0.8
"""Share of episodes that are won: a policy half-way through its training."""
_DETOUR = (1.0, 2.0)
"""Length of a won episode, as a multiple of its game's walkthrough."""
_RESPONSE_MEAN, _RESPONSE_SPREAD = 42, 14
_RESPONSE_LEAST, RESPONSE_MOST = 12, 96


def response_tokens(request_id: str) -> int:
    """Length of the response to one turn."""
    drawn = round(random.Random(request_id).gauss(_RESPONSE_MEAN, _RESPONSE_SPREAD))
    return min(max(drawn, _RESPONSE_LEAST), RESPONSE_MOST)


def make_tasks(games: dict[str, Game], count: int, seed: int) -> list[Task]:
    """Tasks on `games` in turn; `max_steps` is the drawn length."""
    generator = random.Random(seed)
    names = sorted(games)
    return [
        Task(
            schema_version=1,
            run="bench",
            trajectory_id=f"bench/train-000000/{number}/0",
            task_id=names[number % len(names)],
            env="alfworld",
            seed=number,
            max_steps=_length(games[names[number % len(names)]], generator),
            temperature=1.0,
        )
        for number in range(count)
    ]


def _length(game: Game, generator: random.Random) -> int:
    if generator.random() >= _WON:
        return MAX_STEPS
    return min(MAX_STEPS, max(3, round(len(game.walkthrough) * generator.uniform(*_DETOUR))))


class PlayedEnv:
    """The rollout's port to environments, in this process. Whatever the model writes, a random admissible action is
    played, so that pages differ as those of a player do.
    """

    def __init__(self, games: dict[str, Game]) -> None:
        self._games = games
        self._live: dict[str, tuple[AlfworldEpisode, random.Random, StepResult]] = {}

    async def open(self, session_id: str, task_id: str, seed: int, max_steps: int) -> StepResult:
        """See `services.rollout.ports.Environment`."""
        episode = AlfworldEpisode(self._games[task_id], max_steps)
        shown = episode.reset()
        self._live[session_id] = (episode, random.Random(f"{session_id}/{seed}"), shown)
        return shown

    def describe(self, session_id: str) -> TaskPin:
        """See `services.rollout.ports.Environment`."""
        return TaskPin(task_id=session_id, task_type="bench", split="train")

    async def step(self, session_id: str, action: str) -> StepResult:
        """See `services.rollout.ports.Environment`."""
        del action
        episode, generator, before = self._live[session_id]
        shown = episode.step(generator.choice(before.admissible))
        self._live[session_id] = (episode, generator, shown)
        return shown

    async def close(self, session_id: str) -> None:
        """See `services.rollout.ports.Environment`."""
        self._live.pop(session_id, None)


def words_of(games: dict[str, Game], builder: PromptBuilder, tasks: list[Task]) -> list[str]:
    """Every word the prompts of `tasks` are made of, actions aside that the model would have to write itself."""
    words: set[str] = set()
    for task in tasks:
        episode, generator = (
            AlfworldEpisode(games[task.task_id], task.max_steps),
            random.Random(f"{task.trajectory_id}/{task.env_seed}"),
        )
        shown = episode.reset()
        goal, state = task_of(shown.observation), EpisodeState(keep="enforce", history_turns=1)
        while not shown.done:
            page = PromptInput(goal, shown.observation, shown.admissible, state.subgoal, state.history, episode.steps)
            words |= set(builder.build(page).split())
            shown = episode.step(generator.choice(shown.admissible))
    return sorted(words)


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it was made."""

    prompt_ids: list[int]
    sampling: Sampling
    request_id: str


class PacedEngine:
    """An engine whose responses have drawn lengths; keeps every call it is asked for, and counts those answered."""

    def __init__(self, engine: Generator) -> None:
        self._engine = engine
        self.calls: list[Call] = []
        self.answered = 0

    async def generate(self, prompt_ids: list[int], sampling: Sampling, request_id: str) -> Generation:
        """See `Engine.generate`."""
        sampling = replace(sampling, max_tokens=response_tokens(request_id))
        self.calls.append(Call(prompt_ids, sampling, request_id))
        generation = await self._engine.generate(prompt_ids, sampling, f"{request_id}/{len(self.calls)}")
        self.answered += 1
        return generation
