"""One episode, from its task to the trajectory that is published.

Nothing that goes wrong with one episode may end the process, except a dead engine: what cannot be played becomes a trajectory
without turns that says why, so that its batch can complete.
"""

import asyncio
import time
from dataclasses import dataclass, field

import numpy as np

from hiper._proto.common.v1.types_pb2 import TokenSpan as TokenSpanMessage
from hiper._proto.trajectory.v1.trajectory_pb2 import Outcome, Task, Trajectory, Turn
from hiper.config.sections import RolloutSettings
from hiper.errors import HiperError
from hiper.metrics import counter, histogram
from hiper.plan_execute import EpisodeState, ParsedResponse, PromptInput, TurnDecision, parse_response, task_of
from hiper.rpc.env_client import EnvClient, EnvStep
from hiper.streams import SCHEMA_VERSION
from hiper.vocabulary import Abandonment, StopReason, Switch, TokenSpan
from services.rollout.engine import Engine, EngineDead, Generation, RequestRefused, Sampling
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
        )


class EpisodePlayer:
    """Plays episodes; one object for all of a process's episodes."""

    def __init__(
        self,
        engine: Engine,
        env: EnvClient,
        tokenizer: TurnTokenizer,
        settings: RolloutSettings,
        producer: str,
    ) -> None:
        self._engine = engine
        self._env = env
        self._tokenizer = tokenizer
        self._settings = settings
        self._producer = producer

    async def play(self, task: Task) -> Trajectory:
        """Play `task` to its end. Raises `EngineDead` only."""
        started = time.monotonic()
        session = task.trajectory_id
        try:
            trajectory = await self._play(task, session)
        except PromptTooLong as error:
            trajectory = self._abandon(task, Abandonment.PROMPT_TOO_LONG, error)
        except RequestRefused as error:
            trajectory = self._abandon(task, Abandonment.ENGINE, error)
        except EngineDead:
            raise
        except HiperError as error:
            trajectory = self._abandon(task, Abandonment.ENVIRONMENT, error)
        finally:
            await self._env.close(session)
        _count(trajectory, time.monotonic() - started)
        return trajectory

    async def _play(self, task: Task, session: str) -> Trajectory:
        began = time.monotonic()
        first = await self._env.open(session, task.task_id, task.seed, task.max_steps)
        state = EpisodeState(keep=self._settings.keep, history_turns=self._settings.prompt.history_turns)
        progress = _Progress(task, task_of(first.observation), state, first, env_s=time.monotonic() - began)
        while not progress.shown.done:
            await self._turn(progress, session)
        return self._finish(progress, session)

    async def _turn(self, progress: _Progress, session: str) -> None:
        prompt = self._tokenizer.encode(progress.prompt_input())
        index = len(progress.turns)
        began = time.monotonic()
        async with asyncio.timeout(self._settings.generate_timeout_s):
            generation = await self._engine.generate(prompt, self._sampling(progress.task, index), f"{session}#{index}")
        generated = time.monotonic()
        response = parse_response(self._tokenizer.pieces(generation.token_ids))
        decision = progress.state.decide(response)
        before = progress.shown
        progress.shown = await self._env.step(session, response.action)
        progress.state.remember(before.observation, response.action)
        progress.turns.append(_record(index, prompt, generation, response, decision, before, progress.shown))
        progress.generate_s += generated - began
        progress.env_s += time.monotonic() - generated
        histogram("rollout_generate_duration_seconds").observe(generated - began)

    def _sampling(self, task: Task, index: int) -> Sampling:
        # Fixed by the task and the turn: an episode that is played again after a crash takes the same choices as long as the
        # weights are the same.
        seed = (task.seed * 1_000_003 + index) % 2**31
        sampling = self._settings.sampling
        return Sampling(task.temperature, sampling.top_p, sampling.max_response_tokens, seed)

    def _finish(self, progress: _Progress, session: str) -> Trajectory:
        info, last = self._env.describe(session), progress.shown
        next_prompt = self._tokenizer.encode(progress.prompt_input()) if last.truncated else []
        return Trajectory(
            schema_version=SCHEMA_VERSION,
            task=progress.task,
            task_type=info.task_type,
            split=info.split,
            outcome=Outcome(won=last.won, score=last.score, terminated=last.terminated, truncated=last.truncated),
            turns=progress.turns,
            next_prompt_ids=_int32(next_prompt),
            generate_seconds=progress.generate_s,
            env_seconds=progress.env_s,
            producer=self._producer,
        )

    def _abandon(self, task: Task, reason: Abandonment, error: Exception) -> Trajectory:
        return Trajectory(
            schema_version=SCHEMA_VERSION,
            task=task,
            outcome=Outcome(abandoned=reason.value, error=str(error)[:1000]),
            producer=self._producer,
        )


def _record(
    index: int,
    prompt: list[int],
    generation: Generation,
    response: ParsedResponse,
    decision: TurnDecision,
    before: EnvStep,
    after: EnvStep,
) -> Turn:
    return Turn(
        index=index,
        prompt_ids=_int32(prompt),
        response_ids=_int32(generation.token_ids),
        response_logprobs=np.asarray(generation.logprobs, dtype="<f4").tobytes(),
        policy_version_start=generation.version_start,
        policy_version_end=generation.version_end,
        stop_reason=generation.stop_reason.value,
        is_switch=response.switch is Switch.SWITCH,
        switch_span=_span(response.switch_span),
        subgoal_span=_span(response.subgoal_span),
        action_span=_span(response.action_span),
        value_low_position=response.value_low_position,
        valid=response.valid,
        action_admissible=after.action_valid,
        subgoal_consistent=decision.consistent,
        subgoal=decision.subgoal,
        action=response.action,
        observation=before.observation,
        env_reward=after.reward,
    )


def _int32(ids: list[int] | tuple[int, ...]) -> bytes:
    return np.asarray(ids, dtype="<i4").tobytes()


def _span(span: TokenSpan | None) -> TokenSpanMessage | None:
    return None if span is None else TokenSpanMessage(start=span.start, end=span.end)


def _count(trajectory: Trajectory, seconds: float) -> None:
    env, outcome = trajectory.task.env, trajectory.outcome
    word = (
        "abandoned"
        if outcome.abandoned
        else "success"
        if outcome.won
        else "truncated"
        if outcome.truncated
        else "failure"
    )
    counter("rollout_episodes_total").labels(env=env, task_type=trajectory.task_type, outcome=word).inc()
    histogram("rollout_episode_duration_seconds").labels(env=env).observe(seconds)
    histogram("rollout_episode_turns").labels(env=env).observe(len(trajectory.turns))
    histogram("rollout_episode_return").labels(env=env).observe(sum(turn.env_reward for turn in trajectory.turns))
    switches = sum(turn.is_switch for turn in trajectory.turns)
    histogram("rollout_subgoals_per_episode").labels(env=env).observe(switches)
    counter("rollout_subgoal_switches_total").labels(env=env).inc(switches)
    for turn in trajectory.turns:
        counter("rollout_tokens_total").labels(kind="prompt").inc(len(turn.prompt_ids) // 4)
        counter("rollout_tokens_total").labels(kind="response").inc(len(turn.response_ids) // 4)
        if turn.stop_reason == StopReason.LENGTH:
            counter("rollout_responses_clipped_total").inc()
