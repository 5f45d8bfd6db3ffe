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

__all__ = ["DEMO_SIZE", "DEMO_TYPES", "MAX_SIZE", "MIN_SIZE", "GameSpec", "Layout", "draw_layout"]

MIN_SIZE, MAX_SIZE = 3, 60
DEMO_SIZE = "demo"
DEMO_TYPES = (TaskType.PLACE, TaskType.CLEAN, TaskType.COOL, TaskType.HEAT)
_PREFIX = "synth-alfworld"
_STATIONS = {TaskType.CLEAN: "SinkBasin", TaskType.HEAT: "Microwave", TaskType.COOL: "Fridge"}
_ABILITY = {TaskType.CLEAN: "cleanable", TaskType.HEAT: "heatable", TaskType.COOL: "coolable"}
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

    def rng(self) -> random.Random:
        """A generator of its own, the same on every machine."""
        return random.Random(int.from_bytes(hashlib.sha256(self.task_id.encode()).digest()))


@dataclass(slots=True)
class Layout:
    """A drawn room and its task. Types are written as in game files, e.g. `CounterTop`."""

    task_type: TaskType
    item_type: str
    target_type: str
    """Receptacle type; for LIGHT the lamp's type."""
    wording: int
    """Which of the two sentences of the task type."""
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


def draw_layout(spec: GameSpec) -> Layout:
    """The room and task that `spec` names; always the same."""
    rng = spec.rng()
    if isinstance(spec.size, str):
        return _draw_demo(spec.task_type, rng)
    return _draw_room(spec.task_type, spec.size, rng)


def _draw_room(task_type: TaskType, size: int, rng: random.Random) -> Layout:
    room = ROOMS[rng.choice(_ROOMS_FOR.get(task_type, tuple(ROOMS)))]
    layout, needed = _draw_task(task_type, room, rng)
    once = [kind for kind in room.once if kind not in needed]
    rng.shuffle(once)
    kinds = [*needed, *once][:size]
    kinds += [rng.choice(room.fill) for _ in range(size - len(kinds))]
    rng.shuffle(kinds)
    layout.receptacles = kinds
    for i in range(size):
        shares = i > 0 and rng.random() < _SHARED_PLACE
        layout.places.append(layout.places[-1] + (0 if shares else 1) if i else 0)
    _put_goal_items(layout, rng)
    others = [kind for kind in room.items if kind != layout.item_type]
    for _ in range(rng.randrange(size, size * 3 // 2 + 2)):
        kind = rng.choice(others)
        if where := layout.accepting(kind):
            layout.items.append((kind, rng.choice(where)))
    if task_type is TaskType.LIGHT:
        holders = [i for i, kind in enumerate(layout.receptacles) if kind in LAMP_HOLDERS]
        layout.items.append((layout.target_type, rng.choice(holders)))
    _chill(layout, rng)
    return layout


def _draw_task(task_type: TaskType, room: Room, rng: random.Random) -> tuple[Layout, list[str]]:
    """Item, target, and the receptacle types the task cannot do without: at most three."""
    kinds = tuple(dict.fromkeys((*room.once, *room.fill)))
    station = _STATIONS.get(task_type, "")
    options = []
    for item in room.items:
        if task_type in _ABILITY and item not in ABILITIES[_ABILITY[task_type]]:
            continue
        homes = [kind for kind in kinds if item in ACCEPTS[kind] and kind != station]
        if len(homes) > 1:
            options.append((item, homes))
    item, homes = rng.choice(options)
    wording = rng.randrange(2)
    if task_type is TaskType.LIGHT:
        holder = rng.choice([kind for kind in kinds if kind in LAMP_HOLDERS])
        return Layout(task_type, item, rng.choice(LAMPS), wording), [holder, rng.choice(homes)]
    target, source = rng.sample(homes, 2)
    return Layout(task_type, item, target, wording), [kind for kind in (target, source, station) if kind]


def _put_goal_items(layout: Layout, rng: random.Random) -> None:
    """The things the task needs, outside the target, and now and then another of the kind to tell apart."""
    target = "" if layout.task_type is TaskType.LIGHT else layout.target_type
    outside = layout.accepting(layout.item_type, but=target)
    needed = 2 if layout.task_type is TaskType.TWO else 1
    layout.items += [(layout.item_type, rng.choice(outside)) for _ in range(needed)]
    if rng.random() < 0.5:
        inside_is_not_won = layout.task_type is not TaskType.PLACE
        where = layout.accepting(layout.item_type) if inside_is_not_won else outside
        layout.items.append((layout.item_type, rng.choice(where)))


def _chill(layout: Layout, rng: random.Random) -> None:
    """Let some things in fridges start cold, except where that would win at once."""
    for i, (kind, where) in enumerate(layout.items):
        wins = layout.task_type is TaskType.COOL and kind == layout.item_type
        can_be_cold = layout.receptacles[where] == "Fridge" and kind in ABILITIES["coolable"] and not wins
        if can_be_cold and rng.random() < _COLD:
            layout.cold.add(i)


def _draw_demo(task_type: TaskType, rng: random.Random) -> Layout:
    """A demo kitchen: 6-8 places with one receptacle each, 4-6 things of eight kinds, mostly where they belong."""
    kinds = ["CounterTop", "DiningTable", "Fridge", "Microwave", "SinkBasin", "Cabinet"]
    if rng.random() < 0.5:
        kinds.append("Cabinet")
    if rng.random() < 0.5:
        kinds.append(rng.choice(("Drawer", "Shelf")))
    station = _STATIONS.get(task_type, "")
    items = [kind for kind in DEMO if task_type not in _ABILITY or kind in ABILITIES[_ABILITY[task_type]]]
    item = rng.choice(items)
    targets = [kind for kind in ("CounterTop", "DiningTable", "Cabinet", "Fridge", "Shelf") if kind in kinds]
    target = rng.choice([kind for kind in targets if kind != station and item in ACCEPTS[kind]])
    layout = Layout(task_type, item, target, rng.randrange(2), kinds, list(range(len(kinds))))
    avoided = target if task_type is TaskType.PLACE else ""
    layout.items.append((item, _at_home(layout, item, avoided, rng)))
    for _ in range(rng.randrange(3, 6)):
        kind = rng.choice(tuple(DEMO))
        layout.items.append((kind, _at_home(layout, kind, avoided if kind == item else "", rng)))
    return layout


def _at_home(layout: Layout, kind: str, but: str, rng: random.Random) -> int:
    """Where a thing of a demo kitchen is: at its home with probability .7 if there is one, else anywhere."""
    homes = [i for i in layout.accepting(kind, but=but) if layout.receptacles[i] == DEMO[kind]]
    return rng.choice(homes if homes and rng.random() < _HOME else layout.accepting(kind, but=but))
