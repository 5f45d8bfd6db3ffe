"""One episode, from its task to the trajectory that is published.

Nothing that goes wrong with one episode ends the process, except a dead engine: what cannot be played becomes a
trajectory without turns that says why, so that its batch can complete.
"""

import hashlib
import time
from dataclasses import dataclass, field

from hiper import tracing
from hiper._proto.trajectory.v1.trajectory_pb2 import Outcome, Task, Trajectory, Turn
from hiper.config.sections import RolloutSettings
from hiper.errors import HiperError
from hiper.failpoint import Failpoint, failpoint
from hiper.metrics import histogram
from hiper.plan_execute import EpisodeState, PromptInput, parse_response, task_of
from hiper.rpc.env_client import EnvStep
from hiper.streams import SCHEMA_VERSION
from hiper.vocabulary import Abandonment
from services.rollout.engine import EngineDead, Generator, RequestRefused, Sampling
from services.rollout.ports import Environment
from services.rollout.recording import PlayedTurn, abandoned, chat_attributes, count_episode, int32
from services.rollout.tokenizer import PromptTooLong, TurnTokenizer

__all__ = ["EpisodePlayer"]


@dataclass(slots=True)
class _Progress:
    """What an episode carries while it is played."""

    task: Task
    goal: str
    state: EpisodeState
    shown: EnvStep
    turns: list[Turn] = field(default_factory=list)
    generate_s: float = 0.0
    env_s: float = 0.0

    def prompt_input(self) -> PromptInput:
        return PromptInput(
            task=self.goal,
            observation=self.shown.observation,
            admissible=self.shown.admissible,
            subgoal=self.state.subgoal,
            history=self.state.history,
            step=len(self.turns),
            search_bar=self.shown.has_search_bar,
        )


class EpisodePlayer:
    """Plays episodes, many at a time; one object for a process."""

    def __init__(
        self, engine: Generator, env: Environment, tokenizer: TurnTokenizer, settings: RolloutSettings, producer: str
    ) -> None:
        self._engine = engine
        self._env = env
        self._tokenizer = tokenizer
        self._settings = settings
        self._producer = producer

    async def play(self, task: Task) -> Trajectory:
        """Play `task` to its end. Raises `EngineDead` only."""
        began = time.monotonic()
        try:
            trajectory = await self._play(task)
        except EngineDead:
            raise
        except PromptTooLong as error:
            trajectory = abandoned(task, Abandonment.PROMPT_TOO_LONG, error, self._producer)
        except RequestRefused as error:
            trajectory = abandoned(task, Abandonment.ENGINE, error, self._producer)
        except HiperError as error:
            trajectory = abandoned(task, Abandonment.ENVIRONMENT, error, self._producer)
        finally:
            await self._env.close(task.trajectory_id)
        count_episode(trajectory, time.monotonic() - began)
        return trajectory

    async def _play(self, task: Task) -> Trajectory:
        began = time.monotonic()
        first = await self._env.open(task.trajectory_id, task.task_id, task.env_seed, task.max_steps)
        state = EpisodeState(keep=self._settings.keep, history_turns=self._settings.prompt.history_turns)
        progress = _Progress(task, task_of(first.observation), state, first, env_s=time.monotonic() - began)
        while not progress.shown.done:
            await self._turn(progress)
        return self._finish(progress)

    async def _turn(self, progress: _Progress) -> None:
        session, index = progress.task.trajectory_id, len(progress.turns)
        prompt_ids = self._tokenizer.encode(progress.prompt_input())
        began = time.monotonic()
        sampling = self._sampling(progress.task, index)
        with tracing.span("chat"):
            generation = await self._engine.generate(prompt_ids, sampling, f"{session}#{index}")
            tracing.note(chat_attributes(index, prompt_ids, generation))
        generated = time.monotonic()
        response = parse_response(self._tokenizer.pieces(generation.token_ids))
        decision, before = progress.state.decide(response), progress.shown
        progress.shown = await self._env.step(session, response.action)
        progress.state.remember(before.observation, response.action)
        turn = PlayedTurn(index, prompt_ids, generation, response, decision, before, progress.shown)
        turn.count(progress.task.env)
        progress.turns.append(turn.message())
        progress.generate_s += generated - began
        progress.env_s += time.monotonic() - generated
        histogram("rollout_generate_duration_seconds").observe(generated - began, tracing.exemplar())
        failpoint(Failpoint.ROLLOUT_AFTER_STEP)

    def _sampling(self, task: Task, index: int) -> Sampling:
        """Fixed by task and turn: an episode played again on the same weights goes the same way."""
        digest = hashlib.sha256(f"{task.seed}/{index}".encode()).digest()
        limits = self._settings.sampling
        seed = int.from_bytes(digest[:8], "big") >> 1
        return Sampling(task.temperature, limits.top_p, limits.max_response_tokens, seed)

    def _finish(self, progress: _Progress) -> Trajectory:
        info, last = self._env.describe(progress.task.trajectory_id), progress.shown
        next_prompt = self._tokenizer.encode(progress.prompt_input()) if last.truncated else []
        return Trajectory(
            schema_version=SCHEMA_VERSION,
            task=progress.task,
            task_type=info.task_type,
            split=info.split,
            outcome=Outcome(won=last.won, score=last.score, terminated=last.terminated, truncated=last.truncated),
            turns=progress.turns,
            next_prompt_ids=int32(next_prompt),
            generate_seconds=progress.generate_s,
            env_seconds=progress.env_s,
            producer=self._producer,
        )
