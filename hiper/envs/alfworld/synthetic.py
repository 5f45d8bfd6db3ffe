"""Generated ALFWorld tasks: the default where no game files are (spec 6.1).

Any id `synth-alfworld/<size>/<type>/<seed>` or `synth-alfworld-horizon/<k>/<seed>` can be opened. A source also fixes a
train and a held-out split: seeds of the two come from disjoint ranges, and no game of either split is the same to play
as another one (`content_key`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice

from hiper.envs.alfworld.cache import DEFAULT_CACHE_BYTES, GameCache
from hiper.envs.alfworld.engine import AlfworldEpisode
from hiper.envs.alfworld.generator import content_key, generate_game, read_spec
from hiper.envs.alfworld.horizon import HorizonSpec
from hiper.envs.alfworld.layout import DEMO_SIZE, DEMO_TYPES, GameSpec
from hiper.envs.alfworld.model import Game, TaskType
from hiper.envs.alfworld.source import describe_game
from hiper.envs.alfworld.versions import SYNTHETIC
from hiper.envs.base import TaskInfo, TaskPin
from hiper.errors import DataError
from hiper.vocabulary import EnvName

__all__ = ["FIRST_VALID_SEED", "Split", "SplitSpec", "SyntheticAlfworld", "build_split"]

FIRST_VALID_SEED = 1_000_000
"""Seeds below belong to `train`, the others to `valid`."""


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """How many games of what kind."""

    size: int | str = DEMO_SIZE
    types: tuple[TaskType, ...] = DEMO_TYPES
    """They take turns."""
    horizon: int = 0
    """Sub-tasks chained in every game; 0 = games of ALFWorld's own `types`, of this `size`."""
    train: int = 2000
    valid: int = 128

    def game(self, seed: int) -> GameSpec | HorizonSpec:
        """The game of one seed."""
        if self.horizon:
            return HorizonSpec(self.horizon, seed)
        return GameSpec(self.size, self.types[seed % len(self.types)], seed)


@dataclass(frozen=True, slots=True)
class Split:
    """Ids of two disjoint sets of games, in the order of their seeds."""

    train: tuple[str, ...]
    valid: tuple[str, ...]
    duplicates: int
    """Games left out because an earlier one was the same to play."""


def build_split(spec: SplitSpec) -> Split:
    """Choose the games of `spec`: the first seeds of either range whose content has not been seen yet.

    Raises `DataError` when the size has too few different games.
    """
    seen: set[str] = set()
    tried = 0

    def fresh(first_seed: int, wanted: int) -> Iterator[str]:
        nonlocal tried
        for seed in islice(count(first_seed), 10 * wanted + 100):
            game = spec.game(seed)
            tried += 1
            if (key := content_key(game)) not in seen:
                seen.add(key)
                yield game.task_id

    train = tuple(islice(fresh(0, spec.train), spec.train))
    valid = tuple(islice(fresh(FIRST_VALID_SEED, spec.valid), spec.valid))
    if (len(train), len(valid)) != (spec.train, spec.valid):
        kind = f"horizon {spec.horizon}" if spec.horizon else f"size {spec.size!r}"
        raise DataError(
            f"{kind} has only {len(train)} + {len(valid)} different games where {spec.train} + {spec.valid}"
            " were asked for",
            "ask for fewer or larger games",
        )
    return Split(train, valid, tried - len(train) - len(valid))


class SyntheticAlfworld:
    """Tasks of `spec`; `cache_bytes` of game files stay parsed."""

    env = EnvName.ALFWORLD.value
    version = SYNTHETIC

    def __init__(self, spec: SplitSpec = SplitSpec(), *, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.spec = spec
        self.game = GameCache(self._generate, cache_bytes)
        """Parsed game of a task id."""

    @cached_property
    def split(self) -> Split:
        """The two sets of games, built when first asked for."""
        return build_split(self.spec)

    def splits(self) -> tuple[str, ...]:
        """`train` and `valid`."""
        return ("train", "valid")

    def ids(self, split: str) -> list[str]:
        """Task ids of `split`, sorted."""
        if split not in self.splits():
            raise DataError(f"synthetic ALFWorld has no split {split!r}", "use train or valid")
        return sorted(self.split.train if split == "train" else self.split.valid)

    def resolve(self, task: str) -> str:
        """The id itself, checked; any id of the generator, in the splits or not."""
        return read_spec(task).task_id

    def fingerprint(self) -> dict[str, str]:
        """The version alone: each game's hash covers the generator."""
        return {"version": self.version}

    def pin(self, task_id: str, *, full: bool = False) -> TaskPin:
        """Identify a game, which has to be generated for it."""
        game = self.game(task_id)
        content = game.content_sha256 if full else ""
        return TaskPin(task_id, game.task_type, _split(task_id), game.sha256, content)

    def describe(self, task_id: str) -> TaskInfo:
        """Describe one task."""
        return describe_game(task_id, _split(task_id), self.game(task_id))

    def open(self, task_id: str, *, seed: int = 0, max_steps: int | None = None) -> AlfworldEpisode:  # noqa: ARG002
        """Begin an episode; its step limit is by default the game's own, 50 or, in a horizon game, 50 a sub-task.

        ALFWorld draws no random numbers: `seed` changes nothing, the game's own is in its id.
        """
        limit = read_spec(task_id).max_steps if max_steps is None else max_steps
        return AlfworldEpisode(self.game(task_id), limit)

    @staticmethod
    def _generate(task_id: str) -> Game:
        return generate_game(read_spec(task_id))


def _split(task_id: str) -> str:
    return "train" if read_spec(task_id).seed < FIRST_VALID_SEED else "valid"
