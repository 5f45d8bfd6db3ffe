"""The goal of a game: recognising which of the six shapes it has (spec 1.7), or that it is a chain (spec 6.1).

A goal is a conjunction with existential quantifiers. Conjunction and quantifier commute as long as no variable name is
used twice for different things, so a goal is compared as a flat set of atoms with its variables renamed by role.

A chain is our own extension: `(in-order LINK LINK ...)`, each link a conjunction over named things, e.g.
`(and (isClean apple_bar_01) (inReceptacle apple_bar_01 shelf_bar_02))`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hiper.envs.alfworld.model import TaskType
from hiper.envs.alfworld.sexpr import Expr

__all__ = ["TREATMENTS", "GoalShape", "Link", "read_chain", "read_goal"]

Atom = tuple[str, ...]

TREATMENTS: dict[TaskType, tuple[str, str]] = {
    TaskType.CLEAN: ("cleanable", "isclean"),
    TaskType.HEAT: ("heatable", "ishot"),
    TaskType.COOL: ("coolable", "iscool"),
}
"""Task type to the ability an item needs and the state it must reach."""
_LINK_STATES = {TaskType.PLACE: ("", ""), **TREATMENTS}


@dataclass(frozen=True, slots=True)
class GoalShape:
    """Which of the six shapes a goal has, and the types it names."""

    task_type: TaskType
    item_type: str
    target_type: str
    """Receptacle type; for LIGHT the lamp's object type."""

    def atoms(self) -> frozenset[Atom]:
        """The goal as atoms over the roles `o`, `o2`, `lamp`, `r`, `a`, `l`."""
        item = ("objecttype", "o", self.item_type)
        if self.task_type is TaskType.LIGHT:
            lamp = {("objecttype", "lamp", self.target_type), ("toggleable", "lamp"), ("istoggled", "lamp")}
            where = {("receptacleatlocation", "r", "l"), ("atlocation", "a", "l"), ("inreceptacle", "lamp", "r")}
            return frozenset({item, ("holds", "a", "o")} | lamp | where)
        placed = {item, ("receptacletype", "r", self.target_type), ("inreceptacle", "o", "r")}
        if self.task_type is TaskType.TWO:
            second = {("objecttype", "o2", self.item_type), ("inreceptacle", "o2", "r"), ("not", "=", "o", "o2")}
            return frozenset(placed | second)
        return frozenset(placed | {(word, "o") for word in TREATMENTS.get(self.task_type, ())})


def read_goal(expr: Expr) -> GoalShape:
    """Recognise a goal (lower-cased). Raises `ValueError` when it has none of the six shapes."""
    kinds: dict[str, str] = {}
    atoms = list(_flatten(expr, kinds))
    lamps = {atom[1] for atom in atoms if atom[0] == "toggleable"}
    roles: dict[str, str] = {}
    for variable, kind in kinds.items():
        role = "lamp" if variable in lamps else {"object": "o", "agent": "a"}.get(kind, kind[:1])
        roles[variable] = role if role not in roles.values() else f"{role}2"
    renamed = frozenset(tuple(roles.get(word, word) for word in atom) for atom in atoms)
    types = {(atom[0], atom[1]): atom[2] for atom in renamed if len(atom) == 3 and atom[0].endswith("type")}
    item = types.get(("objecttype", "o"), "")
    target = types.get(("objecttype", "lamp")) or types.get(("receptacletype", "r"), "")
    for task_type in TaskType:
        shape = GoalShape(task_type, item, target)
        if shape.atoms() == renamed:
            return shape
    raise ValueError("its goal has none of the six known shapes")


@dataclass(frozen=True, slots=True)
class Link:
    """One sub-goal of a chain, by the ids of the problem."""

    item: str
    treatment: TaskType
    receptacle: str


def read_chain(expr: Expr) -> list[Link] | None:
    """Read the links of a chain (lower-cased); None for another goal. Raises `ValueError` for an unusable one."""
    match expr:
        case ["in-order", *links]:
            chain = [_read_link(link) for link in links]
        case _:
            return None
    if not chain or len({link.item for link in chain}) < len(chain):
        raise ValueError("its chain of sub-goals is empty or has one thing twice")
    return chain


def _read_link(expr: Expr) -> Link:
    atoms = set(_flatten(expr, {}))
    ((_, item, receptacle),) = (atom for atom in atoms if atom[0] == "inreceptacle" and len(atom) == 3)
    for treatment, (_, state) in _LINK_STATES.items():
        if atoms == {("inreceptacle", item, receptacle), *([(state, item)] if state else [])}:
            return Link(item, treatment, receptacle)
    raise ValueError("its chain has a sub-goal that is not one of place, clean, heat and cool")


def _flatten(expr: Expr, kinds: dict[str, str]) -> Iterator[Atom]:
    """Yield the atoms of `expr`; enter the kind of every quantified variable into `kinds`."""
    match expr:
        case ["and", *parts]:
            for part in parts:
                yield from _flatten(part, kinds)
        case ["exists", list(declarations), body]:
            _declare(declarations, kinds)
            yield from _flatten(body, kinds)
        case ["not", ["=", str(left), str(right)]]:
            yield ("not", "=", *sorted((left, right)))
        case [str(), *_] if all(isinstance(word, str) for word in expr):
            yield tuple(str(word) for word in expr)
        case _:
            raise ValueError("its goal has none of the six known shapes")


def _declare(declarations: list[Expr], kinds: dict[str, str]) -> None:
    """Enter `?x - kind` triples; only the agent, of which there is one, may be quantified twice."""
    for variable, dash, kind in zip(*[iter(declarations)] * 3, strict=True):
        if dash != "-" or not isinstance(variable, str) or not isinstance(kind, str):
            raise ValueError("its goal declares a variable in an unknown way")
        if variable in kinds and kind != "agent":
            raise ValueError(f"its goal quantifies {variable} twice")
        kinds[variable] = kind
