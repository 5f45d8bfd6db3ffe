"""Splitting a game's problem text into declarations, facts and goal, before anything is known of their meaning.

Strict: a fact this engine does not know is refused, because an ignored fact would silently be a different game.
"""

from collections import defaultdict
from dataclasses import dataclass
from sys import intern

from hiper.envs.alfworld.sexpr import Expr, parse

__all__ = ["ABILITIES", "STATES", "Problem", "read_problem"]

ABILITIES = (
    "pickupable",
    "cleanable",
    "heatable",
    "coolable",
    "sliceable",
    "toggleable",
    "isreceptacleobject",
)
"""Constant facts about one item."""
STATES = ("isclean", "ishot", "iscool", "issliced", "istoggled")
"""Facts about one item that commands change."""
_RELATIONS = (
    "atlocation",
    "receptacleatlocation",
    "objectatlocation",
    "receptacletype",
    "objecttype",
    "cancontain",
    "inreceptacle",
    "inreceptacleobject",
)
_ARITY = {
    **dict.fromkeys(_RELATIONS, 2),
    **dict.fromkeys((*ABILITIES, *STATES, "openable", "opened"), 1),
}

Facts = dict[str, set[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem text, lower-cased and taken apart."""

    kinds: dict[str, str]
    """Declared symbol to its kind, e.g. `receptacle`."""
    facts: Facts
    """Arguments of the facts by predicate. A set: facts repeat in the files."""
    goal: Expr

    def unary(self, predicate: str) -> set[str]:
        """Symbols that a fact of one argument names."""
        return {symbol for (symbol,) in self.facts[predicate]}

    def function(self, predicate: str) -> dict[str, str]:
        """A relation that must be a function of its first argument. Raises `ValueError` when it is not."""
        pairs = self.facts[predicate]
        function = {symbol: intern(value) for symbol, value in pairs}
        if len(function) != len(pairs):
            raise ValueError(f"it has two {predicate} facts for one thing")
        return function


def read_problem(text: str) -> Problem:
    """Take `text` apart. Raises `ValueError` or `KeyError` when it is not a problem this engine knows."""
    match parse(text.lower()):
        case [["define", *parts]]:
            sections = {
                part[0]: part[1:] for part in parts if isinstance(part, list) and part and isinstance(part[0], str)
            }
        case _:
            raise ValueError("its problem is not a PDDL definition")
    kinds, facts = _read_kinds(sections[":objects"]), _read_facts(sections[":init"])
    (goal,) = sections[":goal"]
    return Problem(kinds, facts, goal)


def _read_kinds(declarations: list[Expr]) -> dict[str, str]:
    kinds: dict[str, str] = {}
    pending: list[str] = []
    words = iter(_words(declarations))
    for word in words:
        if word == "-":
            kinds.update(dict.fromkeys(pending, next(words, "")))
            pending = []
        else:
            pending.append(word)
    return kinds


def _read_facts(expressions: list[Expr]) -> Facts:
    facts: Facts = defaultdict(set)
    for fact in expressions:
        if not isinstance(fact, list) or not fact:
            raise ValueError(f"it has {fact!r} where a fact belongs")
        if fact[0] == "=":
            continue  # the metric of a planner
        predicate, *arguments = _words(fact)
        facts[predicate].add(tuple(arguments))
    for predicate, found in facts.items():
        for values in found:
            if len(values) != _ARITY.get(predicate):
                raise ValueError(f"its fact ({' '.join((predicate, *values))}) is not one this engine knows")
    return facts


def _words(expr: list[Expr]) -> list[str]:
    """A flat list of words. Raises `ValueError` when it nests."""
    words = [word for word in expr if isinstance(word, str)]
    if len(words) < len(expr):
        raise ValueError("its problem nests where a flat list belongs")
    return words
