"""`hiper bench rollout`: continuous episodes, a lock-step driver and bare vLLM, on one engine and the same episodes.

- continuous: `EpisodePlayer` in as many slots as the engine takes requests; a free slot takes the next task. Counted
  until the last task is taken, as a run never ends.
- lock-step: what the reference does. A batch fills the slots; every turn waits for all; who has finished goes on
  generating until all are done, and only turns of live episodes count.
- bare vLLM: the requests of the continuous run again, straight to `AsyncLLM`, the next as soon as one is done.

The prefix cache is emptied before each.
"""

import asyncio
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from hiper._proto.trajectory.v1.trajectory_pb2 import Task
from hiper.bench.alfworld import draw_sample
from hiper.bench.timing import BenchOptions, Figure, Report, Say, Target
from hiper.config import RunConfig
from hiper.config.sections import CompactPrompt
from hiper.envs.alfworld.game import parse_game
from hiper.envs.alfworld.model import Game
from hiper.plan_execute import EpisodeState, PromptInput, make_builder, task_of
from hiper.vocabulary import PolicyVersion
from services.rollout.bench_load import MAX_STEPS, RESPONSE_MOST, Call, PacedEngine, PlayedEnv, make_tasks, words_of
from services.rollout.bench_model import BenchModel
from services.rollout.engine import Sampling
from services.rollout.episode import EpisodePlayer
from services.rollout.tokenizer import TurnTokenizer, load_tokenizer
from services.rollout.vllm_engine import VllmEngine

__all__ = ["run"]

_SLOTS = 16
_TASKS = 48
_GAMES = 12
_MAX_PROMPT = 1024
_MODEL = BenchModel(hidden=64, layers=2, vocabulary=4096, positions=2048)
_AGAINST_LOCK_STEP, _AGAINST_BARE = Target(2.0), Target(0.9)


@dataclass(frozen=True, slots=True)
class _Done:
    """What a driver did: turns within the seconds that count, and turns altogether."""

    turns: int
    seconds: float
    all_turns: int


@dataclass
class _Bench:
    """One engine, the games, and the turns a second of each driver."""

    config: RunConfig
    engine: VllmEngine
    tokenizer: TurnTokenizer
    games: dict[str, Game]
    tasks: list[Task]
    slots: int
    rates: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Turns a second, by driver."""
    per_cpu_second: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Turns a second of CPU time, this process's and the engine's: what a busy machine does not change."""
    calls: list[Call] = field(default_factory=list)

    async def measure(self, name: str, driver: Callable[[], Awaitable[_Done]]) -> None:
        """Run a driver on an empty prefix cache."""
        await self.engine.forget_prefixes()
        used = _cpu_seconds()
        done = await driver()
        self.rates[name].append(done.turns / done.seconds)
        self.per_cpu_second[name].append(done.all_turns / (_cpu_seconds() - used))

    async def continuous(self) -> _Done:
        """Play every task; count until the last one is taken."""
        paced = PacedEngine(self.engine)
        player = EpisodePlayer(paced, PlayedEnv(self.games), self.tokenizer, self.config.rollout, "bench")
        waiting, ended = deque(self.tasks), 0.0
        turns_then = 0
        started = time.perf_counter()

        async def slot() -> None:
            nonlocal ended, turns_then
            while waiting:
                task = waiting.popleft()
                if not waiting:
                    ended, turns_then = time.perf_counter(), paced.answered
                trajectory = await player.play(task)
                assert len(trajectory.turns) == task.max_steps, trajectory.outcome.error

        await asyncio.gather(*(slot() for _ in range(self.slots)))
        self.calls = paced.calls[:turns_then]
        return _Done(turns_then, ended - started, len(paced.calls))

    async def lock_step(self) -> _Done:
        """Play every task in batches that wait for themselves at every turn."""
        started, turns = time.perf_counter(), 0
        for first in range(0, len(self.tasks), self.slots):
            batch = [_LockStepEpisode(self, task) for task in self.tasks[first : first + self.slots]]
            for episode in batch:
                await episode.reset()
            while not all(episode.done for episode in batch):
                turns += sum(not episode.done for episode in batch)
                await asyncio.gather(*(episode.generate() for episode in batch))
                for episode in batch:
                    await episode.step()
        return _Done(turns, time.perf_counter() - started, turns)

    async def bare(self) -> _Done:
        """Send the continuous run's requests to vLLM itself."""
        waiting = deque(enumerate(self.calls))
        started = time.perf_counter()

        async def slot() -> None:
            while waiting:
                number, call = waiting.popleft()
                await self.engine.ask_bare(call.prompt_ids, call.sampling, f"bare-{time.monotonic_ns()}-{number}")

        await asyncio.gather(*(slot() for _ in range(self.slots)))
        return _Done(len(self.calls), time.perf_counter() - started, len(self.calls))


class _LockStepEpisode:
    """An episode as the lock-step driver plays it: once done, it repeats its last prompt."""

    def __init__(self, bench: _Bench, task: Task) -> None:
        self._bench = bench
        self._task = task
        self._engine = PacedEngine(bench.engine)
        self._env = PlayedEnv(bench.games)
        self._state = EpisodeState(keep="enforce", history_turns=1)
        self._turn = 0
        self.done = False

    async def reset(self) -> None:
        """Show the first page."""
        task = self._task
        self._shown = await self._env.open(task.trajectory_id, task.task_id, task.env_seed, task.max_steps)
        self._goal = task_of(self._shown.observation)

    async def generate(self) -> None:
        """Sample one response."""
        if not self.done:
            shown, state = self._shown, self._state
            page = PromptInput(
                self._goal, shown.observation, shown.admissible, state.subgoal, state.history, step=self._turn
            )
            self._prompt = self._bench.tokenizer.encode(page)
        name = f"{self._task.trajectory_id}#{self._turn}"
        await self._engine.generate(self._prompt, Sampling(1.0, 1.0, RESPONSE_MOST, self._turn), name)
        self._turn += 1

    async def step(self) -> None:
        """Play an action, if the episode goes on."""
        if not self.done:
            before = self._shown
            self._shown = await self._env.step(self._task.trajectory_id, "")
            self._state.remember(before.observation, "")
            self.done = self._shown.done


def run(options: BenchOptions, say: Say) -> Report:
    """Measure. Needs vLLM. `options.scale` shrinks the slots and the tasks."""
    return asyncio.run(_run(options, say))


async def _run(options: BenchOptions, say: Say) -> Report:
    sample = draw_sample(options)
    games = {name: parse_game(data, name) for name, data in list(sample.files.items())[:_GAMES]}
    slots = options.times(_SLOTS, least=2)
    tasks = make_tasks(games, options.times(_TASKS, least=4), options.seed)
    with tempfile.TemporaryDirectory(prefix="hiper-bench-") as folder:
        builder = make_builder(CompactPrompt(), "alfworld")
        parameters = _MODEL.write(Path(folder), seed=options.seed, words=words_of(games, builder, tasks))
        config = _config(Path(folder), slots)
        tokenizer = TurnTokenizer(load_tokenizer(config.model), builder, _MAX_PROMPT)
        say(f"vLLM starts on {parameters:,} parameters")
        engine = VllmEngine(config)
        bench = _Bench(config, engine, tokenizer, games, tasks, slots)
        try:
            await engine.start()
            await engine.load_weights(Path(folder), PolicyVersion(0))
            for repeat in range(options.repeats):
                for name, driver in (
                    ("continuous", bench.continuous),
                    ("lock-step", bench.lock_step),
                    ("bare vLLM", bench.bare),
                ):
                    say(f"{name}: {repeat + 1} of {options.repeats}")
                    await bench.measure(name, driver)
        finally:
            await engine.close()
    report = Report("rollout", {"source": sample.where, "version": sample.version}, options.repeats)
    report.sizes = _sizes(bench, parameters)
    report.figures = _figures(bench)
    return report


def _config(model: Path, slots: int) -> RunConfig:
    rollout: dict[str, Any] = {
        "concurrent_episodes": slots,
        "prompt": {"style": "compact"},
        "sampling": {"max_prompt_tokens": _MAX_PROMPT, "max_response_tokens": RESPONSE_MOST},
        "dtype": "float32",
        "enforce_eager": True,
        # More threads than free cores wait for each other at every operator of a model this small.
        "cpu_threads": 1,
        "generate_timeout_s": 600,
    }
    return RunConfig.model_validate({"model": {"path": str(model)}, "rollout": rollout})


def _sizes(bench: _Bench, parameters: int) -> dict[str, object]:
    lengths = sorted(task.max_steps for task in bench.tasks)
    prompts = sorted(len(call.prompt_ids) for call in bench.calls)
    return {
        "parameters": parameters,
        "slots": bench.slots,
        "episodes": len(lengths),
        "turns": sum(lengths),
        "turns_of_an_episode": {"mean": sum(lengths) / len(lengths), "median": lengths[len(lengths) // 2]},
        "turn_limit": MAX_STEPS,
        "prompt_tokens": {"median": prompts[len(prompts) // 2], "max": prompts[-1]},
    }


def _figures(bench: _Bench) -> list[Figure]:
    def share(rates: dict[str, list[float]], other: str) -> list[float]:
        return [ours / theirs for ours, theirs in zip(rates["continuous"], rates[other], strict=True)]

    wall, cpu = bench.rates, bench.per_cpu_second
    return [
        *(Figure(name, "turns/s", values, "repeats") for name, values in wall.items()),
        *(Figure(name, "turns/CPU s", values, "repeats") for name, values in cpu.items()),
        Figure("continuous against lock-step", "x", share(wall, "lock-step"), "repeats", _AGAINST_LOCK_STEP),
        Figure("continuous against bare vLLM", "x", share(wall, "bare vLLM"), "repeats", _AGAINST_BARE),
        Figure("continuous against bare vLLM, by CPU time", "x", share(cpu, "bare vLLM"), "repeats"),
    ]


def _cpu_seconds() -> float:
    """CPU time of this process and those it started."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(one.user + one.system for one in times)
