"""Games of any length: sub-tasks chained so that each counts only after the one before it (spec 6.1).

`synth-alfworld-horizon/<k>/<seed>` is a kitchen in which k named things have to be brought to named places, some of
them cleaned, heated or cooled, in the order of the task sentence. A thing brought to its place too early has to be
brought there again (`winning`). Reward comes with the last sub-task alone, the shortest plan has about 5k commands
(the game file says how many exactly), and nothing else grows with k but the room, so that credit assignment can be
studied against length.
"""

import random
from dataclasses import dataclass

from hiper.envs.alfworld.furniture import ROOMS
from hiper.envs.alfworld.layout import (
    MAX_SIZE,
    MAX_STEPS,
    STATIONS,
    TREATABLE,
    Layout,
    draw_kinds,
    draw_others,
    draw_places,
    generator_for,
)
from hiper.envs.alfworld.model import ChainGoal, Game, TaskType
from hiper.envs.alfworld.writing import thing_ids
from hiper.errors import DataError

__all__ = ["HORIZON_PREFIX", "MAX_HORIZON", "HorizonSpec", "chain_sentence", "draw_chain"]

HORIZON_PREFIX = "synth-alfworld-horizon"
MAX_HORIZON = 1000
_BASE_SIZE = 10
_UNTREATED = 0.5  # probability of a sub-task without treatment
_STATES = {TaskType.CLEAN: "isClean", TaskType.HEAT: "isHot", TaskType.COOL: "isCool"}
_CLAUSES = {
    TaskType.PLACE: "put {o} in {r}",
    TaskType.CLEAN: "clean {o} and put it in {r}",
    TaskType.HEAT: "heat {o} and put it in {r}",
    TaskType.COOL: "cool {o} and put it in {r}",
}


@dataclass(frozen=True, slots=True)
class HorizonSpec:
    """What identifies a game of `length` chained sub-tasks."""

    length: int
    seed: int

    def __post_init__(self) -> None:
        if not 1 <= self.length <= MAX_HORIZON:
            raise DataError(f"no horizon games of {self.length} sub-tasks", f"use 1 to {MAX_HORIZON}")
        if self.seed < 0:
            raise DataError(f"seed {self.seed} is negative", "use 0 or more")

    @property
    def task_id(self) -> str:
        """`synth-alfworld-horizon/<k>/<seed>`."""
        return f"{HORIZON_PREFIX}/{self.length}/{self.seed}"

    @property
    def max_steps(self) -> int:
        """Step limit: ALFWorld's 50 for every sub-task."""
        return MAX_STEPS * self.length

    @classmethod
    def from_id(cls, task_id: str) -> "HorizonSpec":
        """Read a task id. Raises `DataError` when it is not one."""
        try:
            _, length, seed = task_id.split("/")
            spec = cls(int(length), int(seed))
            if spec.task_id != task_id:
                raise ValueError(task_id)  # e.g. leading zeros: one game, one id
        except ValueError as error:
            raise DataError(
                f"{task_id!r} is not a synthetic ALFWorld task", f"write {HORIZON_PREFIX}/<sub-tasks>/<seed>"
            ) from error
        return spec


@dataclass(frozen=True, slots=True)
class _SubTask:
    treatment: TaskType
    kind: str
    """Type of the thing, e.g. `Apple`."""
    source: int
    target: int


def draw_chain(spec: HorizonSpec) -> tuple[Layout, str]:
    """The room that `spec` names, and its goal in the words of its problem; always the same."""
    rng = generator_for(spec.task_id)
    kitchen = ROOMS["kitchen"]
    size = min(MAX_SIZE, _BASE_SIZE + spec.length)
    layout = Layout(draw_kinds(kitchen, list(STATIONS.values()), size, rng), draw_places(size, rng))
    chain = [_draw_subtask(kitchen.items, layout, rng) for _ in range(spec.length)]
    draw_others(layout, list(kitchen.items), rng)
    # Shuffled, so that a thing's number does not tell whether the task is about it.
    things: list[tuple[str, int, int | None]] = [(task.kind, task.source, i) for i, task in enumerate(chain)]
    things += [(kind, where, None) for kind, where in layout.items]
    rng.shuffle(things)
    layout.items = [(kind, where) for kind, where, _ in things]
    ids, places = thing_ids([kind for kind, _ in layout.items]), thing_ids(layout.receptacles)
    item_of = {i: name for name, (_, _, i) in zip(ids, things, strict=True) if i is not None}
    links = " ".join(_link(task.treatment, item_of[i], places[task.target]) for i, task in enumerate(chain))
    return layout, f"(in-order {links})"


def _draw_subtask(kinds: tuple[str, ...], layout: Layout, rng: random.Random) -> _SubTask:
    """What to bring from where to where; a thing is not brought to where it is treated."""
    treatment = TaskType.PLACE if rng.random() < _UNTREATED else rng.choice(tuple(STATIONS))
    kind = rng.choice([kind for kind in kinds if kind in TREATABLE.get(treatment, kinds)])
    target = rng.choice(layout.accepting(kind, but=STATIONS.get(treatment, "")))
    source = rng.choice([where for where in layout.accepting(kind) if where != target])
    return _SubTask(treatment, kind, source, target)


def _link(treatment: TaskType, item: str, receptacle: str) -> str:
    state = f"({_STATES[treatment]} {item}) " if treatment in _STATES else ""
    return f"(and {state}(inReceptacle {item} {receptacle}))"


def chain_sentence(game: Game) -> str:
    """The task of a parsed horizon game, in words."""
    assert isinstance(game.goal, ChainGoal)
    clauses = (
        _CLAUSES[subgoal.treatment].format(o=game.items[subgoal.item].name, r=game.receptacles[subgoal.receptacle].name)
        for subgoal in game.goal.subgoals
    )
    return f"{', then '.join(clauses)}."
