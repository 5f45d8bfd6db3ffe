"""An immutable ALFWorld game: everything that sessions of the same game share.

Items (portable things, lamps, pieces of furniture) and receptacles are numbered by the code-point order of their ids,
the order of every list in the texts (spec 1.4): sorting indices sorts the output. Nothing changes after parsing, so a
game may be shared by any number of sessions and threads.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["HORIZON", "ChainGoal", "Game", "Goal", "InitialFacts", "Item", "Place", "Receptacle", "SubGoal", "TaskType"]

HORIZON = "horizon"
"""Task type of generated games whose sub-tasks are chained: not one of ALFWorld's."""


class TaskType(StrEnum):
    """The six task types, by the names of the game folders."""

    PLACE = "pick_and_place_simple"
    LIGHT = "look_at_obj_in_light"
    CLEAN = "pick_clean_then_place_in_recep"
    HEAT = "pick_heat_then_place_in_recep"
    COOL = "pick_cool_then_place_in_recep"
    TWO = "pick_two_obj_and_place"


@dataclass(frozen=True, slots=True)
class Item:
    """An object of the game, portable or not."""

    index: int
    name: str
    """As shown, e.g. `apple 1`."""
    type: str
    """Lower-case type symbol, e.g. `appletype`."""
    abilities: frozenset[str]
    """Constant facts: pickupable, cleanable, heatable, coolable, sliceable, toggleable, isreceptacleobject."""
    inside: tuple[str, ...]
    """Names of the things inside a portable container; nothing ever changes them."""


@dataclass(frozen=True, slots=True)
class Receptacle:
    """A piece of furniture things can be in or on."""

    index: int
    name: str
    type: str
    place: int
    """Index into `Game.places`."""
    openable: bool
    accepts: frozenset[str]
    """Types of items it can contain."""


@dataclass(frozen=True, slots=True)
class Place:
    """A location the agent can stand at."""

    index: int
    receptacles: tuple[Receptacle, ...]
    go: tuple[str, ...]
    """The `go to` commands offered here, sorted: every receptacle that is not at this place."""
    facing: str
    """Beginning of the answer to `look`, up to the list of things next to the agent."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What wins: one of six shapes over item and receptacle types (spec 1.7), types resolved to indices."""

    task_type: TaskType
    items: frozenset[int]
    """Items of the wanted type; for clean, heat and cool only those that can be treated so."""
    receptacles: frozenset[int]
    """Receptacles of the target type; empty for LIGHT."""
    lamps: frozenset[int]
    """Lamps of the named type; empty except for LIGHT."""


@dataclass(frozen=True, slots=True)
class SubGoal:
    """One sub-task of a chain: `item`, treated, is in `receptacle`."""

    item: int
    treatment: TaskType
    """PLACE (none), CLEAN, HEAT or COOL."""
    receptacle: int


@dataclass(frozen=True, slots=True)
class ChainGoal:
    """What wins a horizon game: all sub-goals true, each reached after the one before it (see `winning`)."""

    subgoals: tuple[SubGoal, ...]
    """At least one; no two are about the same item."""


@dataclass(frozen=True, slots=True)
class InitialFacts:
    """The changeable facts a session starts from."""

    place: int
    contents: tuple[tuple[int, ...], ...]
    """By receptacle: sorted items in it. An item may be in several receptacles at once (spec 1.3)."""
    located: tuple[frozenset[int], ...]
    """By item: places that its location facts name; not necessarily its receptacle's place."""
    opened: frozenset[int]
    """Receptacles that are open."""
    marks: tuple[tuple[str, frozenset[int]], ...]
    """By state word (isclean, ishot, iscool, issliced, istoggled): items in that state."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Game:
    """One parsed game file."""

    source: str
    """Where it came from, for messages."""
    version: str
    """Version of the rules and texts, e.g. `2.1.2`."""
    sha256: str
    """Of the file's bytes."""
    content_sha256: str
    """Of problem, grammar and domain joined by zero bytes: equal for re-serialised files (spec 5)."""
    file_bytes: int
    """Size of the file."""
    task: str
    """The task sentence, e.g. `Your task is to: put a clean mug in cabinet.`"""
    help: str
    walkthrough: tuple[str, ...]
    shortest_plan: int | None
    """Commands of the shortest plan; None where the file does not say, as in the real ones."""
    goal: Goal | ChainGoal
    items: tuple[Item, ...]
    receptacles: tuple[Receptacle, ...]
    places: tuple[Place, ...]
    go: dict[str, Receptacle]
    """Every `go to` command and where it leads; read-only by convention."""
    room: str
    """Beginning of the room's description, up to the list of receptacles."""
    opening: str
    """The first observation."""
    start: InitialFacts

    @property
    def task_type(self) -> str:
        """Type of the task, as its goal says: a `TaskType`, or `HORIZON`."""
        return self.goal.task_type.value if isinstance(self.goal, Goal) else HORIZON
