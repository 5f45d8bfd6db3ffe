"""Drawing a generated room: which receptacles, where, what is in them, and what the task is (spec 6.1).

A layout is a plain value, a function of the specification alone: every draw comes from one generator seeded by it, over
tuples whose order is fixed. It is solvable by construction: the task's item lies where it can be taken, outside the
target where that matters, and the receptacles the task needs are there.
"""

import hashlib
import random
from dataclasses import dataclass, field

from hiper.envs.alfworld.furniture import ABILITIES, ACCEPTS, DEMO, LAMP_HOLDERS, LAMPS, ROOMS, Room
from hiper.envs.alfworld.model import TaskType
from hiper.errors import DataError

__all__ = [
    "DEMO_SIZE",
    "DEMO_TYPES",
    "MAX_SIZE",
    "MAX_STEPS",
    "MIN_SIZE",
    "STATIONS",
    "TREATABLE",
    "GameSpec",
    "Layout",
    "Task",
    "draw_game",
    "draw_kinds",
    "draw_others",
    "draw_places",
    "generator_for",
]

MIN_SIZE, MAX_SIZE = 3, 60
MAX_STEPS = 50
"""Step limit of the original."""
DEMO_SIZE = "demo"
DEMO_TYPES = (TaskType.PLACE, TaskType.CLEAN, TaskType.COOL, TaskType.HEAT)
_PREFIX = "synth-alfworld"
STATIONS = {TaskType.CLEAN: "SinkBasin", TaskType.HEAT: "Microwave", TaskType.COOL: "Fridge"}
"""Where things are treated."""
TREATABLE = {
    TaskType.CLEAN: ABILITIES["cleanable"],
    TaskType.HEAT: ABILITIES["heatable"],
    TaskType.COOL: ABILITIES["coolable"],
}
"""Types of the things that can be treated."""
_ROOMS_FOR = {
    TaskType.CLEAN: ("kitchen", "bathroom"),
    TaskType.HEAT: ("kitchen",),
    TaskType.COOL: ("kitchen",),
    TaskType.LIGHT: ("living room", "bedroom"),
}
_SHARED_PLACE = 0.15  # probability that a receptacle stands at the place of the one before
_COLD = 0.3  # probability that a thing in a fridge starts cold
_HOME = 0.7  # probability that a thing in a demo kitchen is where it usually is


@dataclass(frozen=True, slots=True)
class GameSpec:
    """What identifies a generated game. `size`: number of receptacles, or `demo` for the demo kitchens."""

    size: int | str
    task_type: TaskType
    seed: int

    def __post_init__(self) -> None:
        if self.size == DEMO_SIZE:
            if self.task_type not in DEMO_TYPES:
                raise DataError(
                    f"demo kitchens have no {self.task_type.value} tasks",
                    f"use one of {', '.join(kind.value for kind in DEMO_TYPES)}",
                )
        elif not isinstance(self.size, int) or not MIN_SIZE <= self.size <= MAX_SIZE:
            raise DataError(
                f"no synthetic games of size {self.size!r}",
                f"use {DEMO_SIZE!r} or {MIN_SIZE} to {MAX_SIZE} receptacles",
            )
        if self.seed < 0:
            raise DataError(f"seed {self.seed} is negative", "use 0 or more")

    @property
    def task_id(self) -> str:
        """`synth-alfworld/<size>/<type>/<seed>`."""
        return f"{_PREFIX}/{self.size}/{self.task_type.value}/{self.seed}"

    @property
    def max_steps(self) -> int:
        """Step limit, as in the original."""
        return MAX_STEPS

    @classmethod
    def from_id(cls, task_id: str) -> "GameSpec":
        """Read a task id. Raises `DataError` when it is not one."""
        try:
            prefix, size, task_type, seed = task_id.split("/")
            if prefix != _PREFIX:
                raise ValueError(prefix)
            spec = cls(size if size == DEMO_SIZE else int(size), TaskType(task_type), int(seed))
            if spec.task_id != task_id:
                raise ValueError(task_id)  # e.g. a seed written with leading zeros: one game, one id
        except ValueError as error:
            raise DataError(
                f"{task_id!r} is not a synthetic ALFWorld task", f"write {_PREFIX}/<size>/<task type>/<seed>"
            ) from error
        return spec


def generator_for(task_id: str) -> random.Random:
    """A random generator of the task's own, the same on every machine."""
    return random.Random(int.from_bytes(hashlib.sha256(task_id.encode()).digest()))


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done. Types are written as in game files, e.g. `CounterTop`."""

    task_type: TaskType
    item_type: str
    target_type: str
    """Receptacle type; for LIGHT the lamp's type."""
    wording: int
    """Which of the two sentences of the task type."""


@dataclass(slots=True)
class Layout:
    """A drawn room."""

    receptacles: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """By receptacle: number of its place."""
    items: list[tuple[str, int]] = field(default_factory=list)
    """Type of each thing and the receptacle it is in."""
    cold: set[int] = field(default_factory=set)
    """Things that start cold."""

    def accepting(self, item_type: str, *, but: str = "") -> list[int]:
        """Receptacles that can hold such a thing, those of type `but` left out."""
        return [i for i, kind in enumerate(self.receptacles) if kind != but and item_type in ACCEPTS[kind]]


def draw_game(spec: GameSpec) -> tuple[Task, Layout]:
    """The task and the room that `spec` names; always the same."""
    rng = generator_for(spec.task_id)
    if isinstance(spec.size, str):
        return _draw_demo(spec.task_type, rng)
    return _draw_room(spec.task_type, spec.size, rng)


def _draw_room(task_type: TaskType, size: int, rng: random.Random) -> tuple[Task, Layout]:
    room = ROOMS[rng.choice(_ROOMS_FOR.get(task_type, tuple(ROOMS)))]
    task, needed = _draw_task(task_type, room, rng)
    kinds = draw_kinds(room, needed, size, rng)
    layout = Layout(kinds, draw_places(size, rng))
    _put_goal_items(task, layout, rng)
    draw_others(layout, [kind for kind in room.items if kind != task.item_type], rng)
    if task_type is TaskType.LIGHT:
        holders = [i for i, kind in enumerate(layout.receptacles) if kind in LAMP_HOLDERS]
        layout.items.append((task.target_type, rng.choice(holders)))
    _chill(task, layout, rng)
    return task, layout


def draw_kinds(room: Room, needed: list[str], size: int, rng: random.Random) -> list[str]:
    """Types of `size` receptacles, among them those `needed`."""
    once = [kind for kind in room.once if kind not in needed]
    rng.shuffle(once)
    kinds = [*needed, *once][:size]
    kinds += [rng.choice(room.fill) for _ in range(size - len(kinds))]
    rng.shuffle(kinds)
    return kinds


def draw_places(size: int, rng: random.Random) -> list[int]:
    """Place of each of `size` receptacles: now and then two in a row share one."""
    places: list[int] = []
    for i in range(size):
        shares = i > 0 and rng.random() < _SHARED_PLACE
        places.append(places[-1] + (0 if shares else 1) if i else 0)
    return places


def draw_others(layout: Layout, kinds: list[str], rng: random.Random) -> None:
    """Add things that the task does not ask for, one to one and a half times as many as there are receptacles."""
    size = len(layout.receptacles)
    for _ in range(rng.randrange(size, size * 3 // 2 + 2)):
        kind = rng.choice(kinds)
        if where := layout.accepting(kind):
            layout.items.append((kind, rng.choice(where)))


def _draw_task(task_type: TaskType, room: Room, rng: random.Random) -> tuple[Task, list[str]]:
    """Item, target, and the receptacle types the task cannot do without: at most three."""
    kinds = tuple(dict.fromkeys((*room.once, *room.fill)))
    station = STATIONS.get(task_type, "")
    options = []
    for item in room.items:
        if item not in TREATABLE.get(task_type, room.items):
            continue
        homes = [kind for kind in kinds if item in ACCEPTS[kind] and kind != station]
        if len(homes) > 1:
            options.append((item, homes))
    item, homes = rng.choice(options)
    wording = rng.randrange(2)
    if task_type is TaskType.LIGHT:
        holder = rng.choice([kind for kind in kinds if kind in LAMP_HOLDERS])
        return Task(task_type, item, rng.choice(LAMPS), wording), [holder, rng.choice(homes)]
    target, source = rng.sample(homes, 2)
    return Task(task_type, item, target, wording), [kind for kind in (target, source, station) if kind]


def _put_goal_items(task: Task, layout: Layout, rng: random.Random) -> None:
    """The things the task needs, outside the target, and now and then another of the kind to tell apart."""
    target = "" if task.task_type is TaskType.LIGHT else task.target_type
    outside = layout.accepting(task.item_type, but=target)
    needed = 2 if task.task_type is TaskType.TWO else 1
    layout.items += [(task.item_type, rng.choice(outside)) for _ in range(needed)]
    if rng.random() < 0.5:
        inside_is_not_won = task.task_type is not TaskType.PLACE
        where = layout.accepting(task.item_type) if inside_is_not_won else outside
        layout.items.append((task.item_type, rng.choice(where)))


def _chill(task: Task, layout: Layout, rng: random.Random) -> None:
    """Let some things in fridges start cold, except where that would win at once."""
    for i, (kind, where) in enumerate(layout.items):
        wins = task.task_type is TaskType.COOL and kind == task.item_type
        can_be_cold = layout.receptacles[where] == "Fridge" and kind in ABILITIES["coolable"] and not wins
        if can_be_cold and rng.random() < _COLD:
            layout.cold.add(i)


def _draw_demo(task_type: TaskType, rng: random.Random) -> tuple[Task, Layout]:
    """A demo kitchen: 6-8 places with one receptacle each, 4-6 things of eight kinds, mostly where they belong."""
    kinds = ["CounterTop", "DiningTable", "Fridge", "Microwave", "SinkBasin", "Cabinet"]
    if rng.random() < 0.5:
        kinds.append("Cabinet")
    if rng.random() < 0.5:
        kinds.append(rng.choice(("Drawer", "Shelf")))
    station = STATIONS.get(task_type, "")
    items = [kind for kind in DEMO if kind in TREATABLE.get(task_type, DEMO)]
    item = rng.choice(items)
    targets = [kind for kind in ("CounterTop", "DiningTable", "Cabinet", "Fridge", "Shelf") if kind in kinds]
    target = rng.choice([kind for kind in targets if kind != station and item in ACCEPTS[kind]])
    task = Task(task_type, item, target, rng.randrange(2))
    layout = Layout(kinds, list(range(len(kinds))))
    avoided = target if task_type is TaskType.PLACE else ""
    layout.items.append((item, _at_home(layout, item, avoided, rng)))
    for _ in range(rng.randrange(3, 6)):
        kind = rng.choice(tuple(DEMO))
        layout.items.append((kind, _at_home(layout, kind, avoided if kind == item else "", rng)))
    return task, layout


def _at_home(layout: Layout, kind: str, but: str, rng: random.Random) -> int:
    """Where a thing of a demo kitchen is: at its home with probability .7 if there is one, else anywhere."""
    homes = [i for i in layout.accepting(kind, but=but) if layout.receptacles[i] == DEMO[kind]]
    return rng.choice(homes if homes and rng.random() < _HOME else layout.accepting(kind, but=but))
