"""`hiper eval`: any model on a fixed panel, every task once, without broker, env servers or learner.

Prompts, parser, sampling, dice and environments are those of a run, so its figures and those of the run's own
evaluations are of one kind. What is played is written to the report every few seconds; a second sitting plays the rest.
"""

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hiper._proto.trajectory.v1.trajectory_pb2 import Task, Trajectory
from hiper.config import RunConfig
from hiper.envs.configured import open_configured_source
from hiper.envs.panels import Panel
from hiper.envs.panels.choosing import settle_evaluation
from hiper.errors import DataError, ExitCode, HiperError
from hiper.report.checkpoint import Checkpoint
from hiper.report.evaluation import Conditions, Evaluation, PlayedEpisode, read_evaluation
from hiper.tasks import evaluation_tasks
from hiper.vocabulary import PolicyVersion, StopReason
from services.rollout.building import make_engine, make_player
from services.rollout.engine import Engine, Generation, Sampling
from services.rollout.episode import EpisodePlayer
from services.rollout.local_env import LocalEnvironment

__all__ = ["EvaluationRequest", "run_evaluation"]

_REPORT_S = 5.0
"""Seconds between writings of the report, and between lines about the progress: what a kill loses."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What to evaluate, and where the report goes."""

    config: RunConfig
    """`model.path` is the model to be evaluated."""
    checkpoint: Checkpoint
    out: Path | None
    """The report; None: it is only returned."""


@dataclass(frozen=True, slots=True)
class _OneVersion:
    """An engine that never swaps its weights: what it generates is of the version it was started on."""

    engine: Engine
    version: PolicyVersion

    async def generate(self, prompt_ids: list[int], sampling: Sampling, request_id: str) -> Generation:
        """See `services.rollout.engine.Generator`."""
        generation = await self.engine.generate(prompt_ids, sampling, request_id)
        return replace(generation, version_start=self.version, version_end=self.version)


@dataclass(slots=True)
class _Sitting:
    """One process's share of an evaluation."""

    request: EvaluationRequest
    say: Say
    evaluation: Evaluation
    panel: Panel
    waiting: deque[Task] = field(default_factory=deque)
    turns: int = 0
    """Played in this sitting."""

    async def play(self, env: LocalEnvironment) -> None:
        """Play what is left, in as many slots as the engine takes requests."""
        config, version = self.request.config, PolicyVersion(self.request.checkpoint.version or 0)
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # somebody is looking at this terminal
        engine = make_engine(config)
        try:
            self.say(f"{len(self.waiting)} tasks to play; starting {config.rollout.engine} on {config.model.path}")
            await engine.start()
            if config.rollout.engine == "remote":  # servers of your own were started on another model
                await engine.load_weights(Path(config.model.path), version)
            player = make_player(config, _OneVersion(engine, version), env, "eval")
            started = time.monotonic()
            async with asyncio.TaskGroup() as group:
                clerk = group.create_task(self._keep_books(started))
                hashes = {task.id: task.sha256 for task in self.panel.tasks}
                count = config.rollout.concurrent_episodes
                slots = [group.create_task(self._slot(player, hashes)) for _ in range(count)]
                await asyncio.wait(slots)
                clerk.cancel()
        finally:
            self.write()  # before the engine is ended, which takes a while and may be cut short
            await engine.close()

    async def _slot(self, player: EpisodePlayer, hashes: Mapping[str, str]) -> None:
        while self.waiting:
            task = self.waiting.popleft()
            episode = _played(await player.play(task), hashes[task.task_id])
            self.turns += episode.turns
            self.evaluation.add(episode)

    async def _keep_books(self, started: float) -> None:
        """Write the report and say how far it is, until cancelled."""
        before, said = self.evaluation.seconds, -1
        try:
            while True:
                await asyncio.sleep(_REPORT_S)
                self.evaluation.seconds = before + time.monotonic() - started
                if said != self.turns:
                    said = self.turns
                    self.say(self._progress(time.monotonic() - started))
                    self.write()
        finally:
            self.evaluation.seconds = before + time.monotonic() - started

    def _progress(self, seconds: float) -> str:
        result, tasks = self.evaluation.result(), len(self.panel.tasks)
        rate = self.turns / max(seconds, 1e-9)
        return f"{len(self.evaluation.episodes)} of {tasks} played, {result['won']} won, {rate:.1f} turns/s"

    def write(self) -> None:
        """Write the report, if it is to be kept."""
        if self.request.out is not None:
            self.evaluation.write(self.request.out)


def run_evaluation(request: EvaluationRequest, say: Say) -> tuple[Evaluation, bool]:
    """Play what the report does not hold yet. Returns the evaluation, and whether it was interrupted by a signal.

    Raises `HiperError` for what cannot be begun or gone on with; what was played by then is in the report.
    """
    return asyncio.run(_run(request, say))


async def _run(request: EvaluationRequest, say: Say) -> tuple[Evaluation, bool]:
    config, out = request.config, request.out
    source = await asyncio.to_thread(open_configured_source, config.env)
    env = LocalEnvironment(source, config.env, threads=config.rollout.concurrent_episodes)
    panel = (await settle_evaluation(config, env)).to_evaluate(config)
    evaluation = Evaluation(Conditions.of(request.checkpoint, panel, _settings(config)))
    if out is not None and out.exists():
        evaluation.resume(read_evaluation(out), out)
        say(f"{out} holds {len(evaluation.episodes)} of {len(panel.tasks)} episodes: they are not played again")
    sitting = _Sitting(request, say, evaluation, panel, deque(_left(config, panel, evaluation)))
    sitting.write()  # a report that cannot be written is known before hours are spent
    if not sitting.waiting:
        return evaluation, False
    interrupted = await _until_signal(sitting.play(env), say)
    if not interrupted and not evaluation.result()["played"]:
        first = next(iter(evaluation.episodes.values()))
        raise DataError(f"none of {len(panel.tasks)} tasks could be played; {first.task_id}: {first.error}")
    return evaluation, interrupted


def _left(config: RunConfig, panel: Panel, evaluation: Evaluation) -> Iterator[Task]:
    """The tasks that are not played, each with the dice it has in every evaluation.

    In the order of their seeds, which are hashes: what is played by an interruption is a fair sample of the panel.
    """
    for task in sorted(evaluation_tasks(config, panel, "eval", 0), key=lambda task: task.seed):
        if task.task_id not in evaluation.episodes:
            yield task


async def _until_signal(work: Coroutine[Any, Any, None], say: Say) -> bool:
    """Run `work` to its end; at the first SIGINT or SIGTERM cancel it and return True, at the second end the process.

    The engine's processes may have got the signal too: whatever their end makes of `work` is no failure then.
    """
    job, loop, stopped = asyncio.ensure_future(work), asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        if stopped.is_set():
            os._exit(int(ExitCode.INTERRUPTED))  # vLLM's processes end with their owner
        stopped.set()
        job.cancel()
        say("stopping; once more ends it at once")

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        await job
    except (asyncio.CancelledError, HiperError):
        if not stopped.is_set():
            raise
    except BaseExceptionGroup as group:
        if not stopped.is_set():
            raise _first(group) from None
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
    return stopped.is_set()


def _first(error: BaseException) -> BaseException:
    """The failure that ended a group of tasks; the others are its consequences."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _settings(config: RunConfig) -> Mapping[str, Any]:
    """What bears on how an episode goes, in the words of the run file."""
    rollout = config.rollout
    return {
        "temperature": config.evaluation.temperature,
        "top_p": rollout.sampling.top_p,
        "max_prompt_tokens": rollout.sampling.max_prompt_tokens,
        "max_response_tokens": rollout.sampling.max_response_tokens,
        "prompt": rollout.prompt.model_dump(mode="json"),
        "keep": rollout.keep,
        "engine": rollout.engine,
        "dtype": rollout.dtype,
        "max_steps": config.env.max_steps,
        "seed": config.seed,
    }


def _played(trajectory: Trajectory, task_sha256: str) -> PlayedEpisode:
    outcome, turns = trajectory.outcome, trajectory.turns
    return PlayedEpisode(
        task_id=trajectory.task.task_id,
        task_sha256=task_sha256,
        task_type=trajectory.task_type,
        won=outcome.won,
        score=outcome.score,
        turns=len(turns),
        truncated=outcome.truncated,
        clipped=sum(turn.stop_reason == StopReason.LENGTH for turn in turns),
        malformed=sum(not turn.valid for turn in turns),
        inadmissible=sum(not turn.action_admissible for turn in turns),
        prompt_tokens=sum(len(turn.prompt_ids) // 4 for turn in turns),
        response_tokens=sum(len(turn.response_ids) // 4 for turn in turns),
        abandoned=outcome.abandoned,
        error=outcome.error,
    )
