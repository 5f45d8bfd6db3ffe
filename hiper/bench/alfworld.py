"""ALFWorld measured in this process, on one core: loading, resetting, stepping, memory. And the original beside it.

A sample takes games from all splits and types in turn. What is played is written down before it is timed, so that the
player costs nothing: in each game the walkthrough, and random admissible commands with one in ten that is not on offer.
"""

import random
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path

from hiper.bench.timing import BenchOptions, Figure, Say, Target, bytes_each, timed
from hiper.envs.alfworld.engine import AlfworldEpisode
from hiper.envs.alfworld.game import parse_game
from hiper.envs.alfworld.generator import generate_json
from hiper.envs.alfworld.layout import GameSpec
from hiper.envs.alfworld.model import Game, TaskType
from hiper.envs.alfworld.original import play_original
from hiper.envs.alfworld.storage import SPLITS, open_storage
from hiper.envs.alfworld.versions import SYNTHETIC

__all__ = ["Sample", "draw_sample", "measure", "measure_original"]

_GAMES = 96
_EPISODES = 6
_STEPS = 50
_RESETS = 50
_SESSIONS = 20
_JUNK = 0.1
_SYNTHETIC_SIZES = (8, 20, 45)
_ORIGINAL_GAMES = 4
_ORIGINAL_STEPS = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """Game files to measure with."""

    where: str
    """Where they come from."""
    version: str
    files: dict[str, bytes]
    """By task id."""


def draw_sample(options: BenchOptions) -> Sample:
    """Real games if `options.data` says where they are, generated ones of three sizes otherwise."""
    rng = random.Random(options.seed)
    wanted = options.times(_GAMES)
    if options.data is None:
        kinds = [(size, task_type) for task_type in TaskType for size in _SYNTHETIC_SIZES]
        specs = [GameSpec(*kinds[n % len(kinds)], rng.randrange(10**6)) for n in range(wanted)]
        return Sample("generated", SYNTHETIC, {spec.task_id: generate_json(spec).encode() for spec in specs})
    storage = open_storage(options.data)
    strata: dict[str, list[str]] = {}
    for split in SPLITS:
        for game_id in sorted(storage.ids(split)):
            strata.setdefault(game_id.partition("-")[0], []).append(game_id)  # <split>/<type>
    for ids in strata.values():
        rng.shuffle(ids)
    chosen = {game_id: storage.read(game_id) or b"" for game_id in _in_turn(list(strata.values()), wanted)}
    first = next(iter(chosen))
    return Sample(str(storage), parse_game(chosen[first], first).version, chosen)


def _in_turn(strata: list[list[str]], wanted: int) -> list[str]:
    """The first of each stratum, then the second of each, up to `wanted`."""
    return [name for layer in zip_longest(*strata) for name in layer if name is not None][:wanted]


def measure(sample: Sample, options: BenchOptions, say: Say) -> tuple[list[Figure], dict[str, object]]:
    """Figures over the games of `sample`, each the median of the repeats; and how much was played."""
    rng = random.Random(options.seed)
    rates, resets, loads, memory = [], [], [], []
    steps = 0
    for number, (task_id, data) in enumerate(sample.files.items(), start=1):
        game = parse_game(data, task_id)
        plays = [list(game.walkthrough)]
        plays += [_wander(game, rng) for _ in range(options.times(_EPISODES))]
        steps += sum(map(len, plays))
        loads.append(1e3 * _median(options, partial(timed, partial(parse_game, data, task_id))))
        resets.append(1e3 * _median(options, partial(_reset_s, game, options.times(_RESETS))))
        rates.append(1 / _median(options, partial(_step_s, game, plays)))
        memory.append(_session_bytes(game, plays, options.times(_SESSIONS)))
        if number % 16 == 0 or number == len(sample.files):
            say(f"ALFWorld: {number} of {len(sample.files)} games")
    figures = [
        Figure("alfworld.steps", "steps/s", rates, "games", Target(10_000)),
        Figure("alfworld.reset", "ms", resets, "games", Target(0.2, at_most=True)),
        Figure("alfworld.load", "ms", loads, "games", Target(3.0, at_most=True)),
        Figure("alfworld.session_memory", "bytes", memory, "games", Target(50_000, at_most=True)),
    ]
    return figures, {"games": len(sample.files), "steps_per_repeat": steps}


def measure_original(sample: Sample, options: BenchOptions, say: Say) -> list[Figure]:
    """The same of the original, over a few games. Raises `DependencyError` where it is not installed."""
    rng = random.Random(options.seed)
    rates, resets, loads = [], [], []
    for task_id in list(sample.files)[: options.times(_ORIGINAL_GAMES)]:
        say(f"the original ALFWorld: {task_id}")
        game = parse_game(sample.files[task_id], task_id)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "game.tw-pddl")
            file.write_bytes(sample.files[task_id])
            plays = [_wander(game, rng)[: options.times(_ORIGINAL_STEPS)] for _ in range(2)]
            found = play_original(file, plays)
        loads.append(1e3 * found.load_s)
        resets.append(1e3 * statistics.median(play[0].seconds for play in found.plays))
        rates.append(1 / statistics.mean(shown.seconds for play in found.plays for shown in play[1:]))
    return [
        Figure("textworld.steps", "steps/s", rates, "games"),
        Figure("textworld.reset", "ms", resets, "games"),
        Figure("textworld.load", "ms", loads, "games"),
    ]


def _wander(game: Game, rng: random.Random) -> list[str]:
    """Commands of a random player, to the end of its episode."""
    episode = AlfworldEpisode(game, _STEPS)
    shown = episode.reset()
    played = []
    while not shown.done:
        played.append("dance" if rng.random() < _JUNK else rng.choice(shown.admissible))
        shown = episode.step(played[-1])
    return played


def _median(options: BenchOptions, once: Callable[[], float]) -> float:
    return statistics.median(once() for _ in range(options.repeats))


def _reset_s(game: Game, times: int) -> float:
    """Seconds of a new episode and its reset."""
    return timed(lambda: [AlfworldEpisode(game, _STEPS).reset() for _ in range(times)]) / times


def _step_s(game: Game, plays: list[list[str]]) -> float:
    """Seconds of a step, its admissible commands included."""
    seconds, steps = 0.0, 0
    for play in plays:
        episode = AlfworldEpisode(game, 0)
        seconds += timed(lambda: [episode.step(command) for command in play])  # noqa: B023 - called at once
        steps += len(play)
    return seconds / steps


def _session_bytes(game: Game, plays: list[list[str]], sessions: int) -> float:
    """Memory of a session in the middle of its episode; the game itself is shared and not counted."""

    def session(number: int) -> object:
        play = plays[number % len(plays)]
        episode = AlfworldEpisode(game, 0)
        return episode, [episode.step(command) for command in play[: len(play) // 2]][-1:]

    return bytes_each(session, sessions)
