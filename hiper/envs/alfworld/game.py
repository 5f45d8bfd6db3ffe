"""Parsing ALFWorld game files into immutable `Game` objects (spec 1.2-1.4).

Everything is read strictly: a fact, a goal or a version this engine does not know makes the file unusable, with one
`DataError` that says what and where, because an ignored fact would silently be a different game.
"""

import hashlib
import json
from collections import defaultdict
from sys import intern

from hiper.envs.alfworld.goal import TREATMENTS, GoalShape, read_goal
from hiper.envs.alfworld.model import Game, Goal, InitialFacts, Item, Place, Receptacle, TaskType
from hiper.envs.alfworld.sexpr import Expr, parse
from hiper.envs.alfworld.text import join_names, list_names
from hiper.envs.alfworld.versions import read_texts
from hiper.envs.alfworld.world import won_from_the_start
from hiper.errors import DataError

__all__ = ["UnplayableGameError", "parse_game"]

_ABILITIES = (
    "pickupable",
    "cleanable",
    "heatable",
    "coolable",
    "sliceable",
    "toggleable",
    "isreceptacleobject",
)
_STATES = ("isclean", "ishot", "iscool", "issliced", "istoggled")
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
    **dict.fromkeys((*_ABILITIES, *_STATES, "openable", "opened"), 1),
}
_ROOM = "You are in the middle of a room. Looking quickly around you, you see "
_WELCOME = "-= Welcome to TextWorld, ALFRED! =-"


class UnplayableGameError(DataError):
    """The file says itself that its game cannot be solved: the original skips such games."""


def parse_game(text: str | bytes, source: str) -> Game:
    """Parse one game file. `source` names it in messages. Raises `DataError` when the file cannot be used."""
    raw = text.encode() if isinstance(text, str) else text
    try:
        document = json.loads(raw)
        if not isinstance(document, dict):
            raise ValueError("it is not a JSON object")
        if document.get("solvable") is not True:
            raise UnplayableGameError(f"{source}: the game is marked unsolvable", "leave it out, as the original does")
        game = _Builder(document, source, hashlib.sha256(raw).hexdigest()).build()
        if won_from_the_start(game):
            raise ValueError("its goal is true before the first command")
        return game
    except json.JSONDecodeError as error:
        raise DataError(f"{source}: not a game file: {error}", "download the game files again") from error
    except KeyError as error:
        raise DataError(f"{source}: corrupt game: nothing known about {error}", "download it again") from error
    except (UnicodeDecodeError, ValueError) as error:
        raise DataError(
            f"{source}: unusable game: {error}", "use the json_2.1.2 game files of alfworld 0.4.x"
        ) from error


class _Builder:
    """The steps from JSON document to `Game`, sharing the intermediate tables."""

    def __init__(self, document: dict[str, object], source: str, sha256: str) -> None:
        self.source = source
        self.sha256 = sha256
        self.problem, self.grammar, self.domain = (
            self._text(document, field) for field in ("pddl_problem", "grammar", "pddl_domain")
        )
        walkthrough = document.get("walkthrough", [])
        if not isinstance(walkthrough, list):
            raise ValueError("its walkthrough is not a list")
        self.walkthrough = tuple(str(command) for command in walkthrough)
        self.texts = read_texts(self.domain, self.grammar)

    @staticmethod
    def _text(document: dict[str, object], field: str) -> str:
        value = document.get(field)
        if not isinstance(value, str):
            raise ValueError(f"its field {field!r} is missing or not a text")
        return value

    def build(self) -> Game:
        self._read_problem()
        self._name_things()
        receptacles, items = self._receptacles(), self._items()
        places = self._places(receptacles)
        all_names = list_names([r.name for r in receptacles])
        content = "\0".join((self.problem, self.grammar, self.domain))
        return Game(
            source=self.source,
            version=self.texts.version,
            sha256=self.sha256,
            content_sha256=hashlib.sha256(content.encode()).hexdigest(),
            task=self.texts.task,
            help=self.texts.help,
            walkthrough=self.walkthrough,
            goal=self._resolve(read_goal(self.goal), items, receptacles),
            items=items,
            receptacles=receptacles,
            places=places,
            go={f"go to {r.name}": r for r in receptacles},
            room=_ROOM,
            opening=f"{_WELCOME}\n\n{_ROOM}{all_names}.\n\n{self.texts.task}",
            start=self._start(),
        )

    def _read_problem(self) -> None:
        """Split the problem into declared kinds, facts by predicate, and the goal. Facts are a set: they repeat."""
        match parse(self.problem.lower()):
            case [["define", *parts]]:
                sections = {part[0]: part[1:] for part in parts if isinstance(part, list) and part}
            case _:
                raise ValueError("its problem is not a PDDL definition")
        self.kinds: dict[str, str] = {}
        pending: list[str] = []
        words = iter(_words(sections[":objects"]))
        for word in words:
            if word == "-":
                self.kinds.update(dict.fromkeys(pending, next(words)))
                pending = []
            else:
                pending.append(word)
        self.facts = _read_facts(sections[":init"])
        (self.goal,) = sections[":goal"]

    def _name_things(self) -> None:
        """Give every id its shown name: within a base name the first id has the highest number."""
        by_base: dict[str, list[str]] = defaultdict(list)
        for symbol in sorted(symbol for symbol in self.kinds if "_bar_" in symbol):
            base = symbol.partition("_bar_")[0] + ("basin" if "basin" in symbol else "")
            by_base[base].append(symbol)
        self.names = {
            symbol: intern(f"{base} {len(symbols) - i}")
            for base, symbols in by_base.items()
            for i, symbol in enumerate(symbols)
        }
        self.receptacle_ids = [s for s in sorted(self.names) if self.kinds[s] == "receptacle"]
        self.item_ids = [s for s in sorted(self.names) if self.kinds[s] == "object"]
        self.receptacle_index = {symbol: i for i, symbol in enumerate(self.receptacle_ids)}
        self.item_index = {symbol: i for i, symbol in enumerate(self.item_ids)}
        self.receptacle_place = self._function("receptacleatlocation")
        ((_, start),) = self.facts["atlocation"]
        locations = sorted({start, *self.receptacle_place.values()})
        self.place_index = {location: i for i, location in enumerate(locations)}
        self.start_place = self.place_index[start]

    def _function(self, predicate: str) -> dict[str, str]:
        """A relation that must be a function of its first argument."""
        pairs = self.facts[predicate]
        function = {symbol: intern(value) for symbol, value in pairs}
        if len(function) != len(pairs):
            raise ValueError(f"it has two {predicate} facts for one thing")
        return function

    def _unary(self, predicate: str) -> set[str]:
        return {symbol for (symbol,) in self.facts[predicate]}

    def _receptacles(self) -> tuple[Receptacle, ...]:
        types = self._function("receptacletype")
        accepted: dict[str, set[str]] = defaultdict(set)
        for receptacle_type, item_type in self.facts["cancontain"]:
            accepted[receptacle_type].add(intern(item_type))
        accepts = {kind: frozenset(accepted[kind]) for kind in set(types.values())}
        openable = self._unary("openable")
        return tuple(
            Receptacle(
                index=i,
                name=self.names[symbol],
                type=types[symbol],
                place=self.place_index[self.receptacle_place[symbol]],
                openable=symbol in openable,
                accepts=accepts[types[symbol]],
            )
            for i, symbol in enumerate(self.receptacle_ids)
        )

    def _items(self) -> tuple[Item, ...]:
        types = self._function("objecttype")
        abilities: dict[str, set[str]] = defaultdict(set)
        for ability in _ABILITIES:
            for symbol in self._unary(ability):
                abilities[symbol].add(ability)
        shared = {frozenset(words): frozenset(words) for words in (*abilities.values(), ())}
        inside: dict[str, list[str]] = defaultdict(list)
        for inner, outer in sorted(self.facts["inreceptacleobject"]):
            inside[outer].append(self.names[inner])
        return tuple(
            Item(
                index=i,
                name=self.names[symbol],
                type=types.get(symbol, ""),
                abilities=shared[frozenset(abilities[symbol])],
                inside=tuple(inside[symbol]),
            )
            for i, symbol in enumerate(self.item_ids)
        )

    def _places(self, receptacles: tuple[Receptacle, ...]) -> tuple[Place, ...]:
        commands = sorted((intern(f"go to {r.name}"), r.place) for r in receptacles)
        here: list[list[Receptacle]] = [[] for _ in self.place_index]
        for receptacle in receptacles:
            here[receptacle.place].append(receptacle)
        return tuple(
            Place(
                index=i,
                receptacles=tuple(found),
                go=tuple(command for command, place in commands if place != i),
                facing=f"You are facing the {join_names([r.name for r in found])}. Next to it, you see "
                if found
                else "",
            )
            for i, found in enumerate(here)
        )

    def _start(self) -> InitialFacts:
        contents: list[set[int]] = [set() for _ in self.receptacle_ids]
        for item, receptacle in self.facts["inreceptacle"]:
            contents[self.receptacle_index[receptacle]].add(self.item_index[item])
        located: list[set[int]] = [set() for _ in self.item_ids]
        for item, location in self.facts["objectatlocation"]:
            # A location no receptacle is at can never be visited, so nothing there can ever be shown.
            if location in self.place_index:
                located[self.item_index[item]].add(self.place_index[location])
        return InitialFacts(
            place=self.start_place,
            contents=tuple(tuple(sorted(found)) for found in contents),
            located=tuple(frozenset(found) for found in located),
            opened=frozenset(self.receptacle_index[symbol] for symbol in self._unary("opened")),
            marks=tuple(
                (state, frozenset(self.item_index[symbol] for symbol in self._unary(state))) for state in _STATES
            ),
        )

    @staticmethod
    def _resolve(shape: GoalShape, items: tuple[Item, ...], receptacles: tuple[Receptacle, ...]) -> Goal:
        ability, _ = TREATMENTS.get(shape.task_type, ("", ""))
        light = shape.task_type is TaskType.LIGHT
        return Goal(
            task_type=shape.task_type,
            items=frozenset(
                o.index for o in items if o.type == shape.item_type and (not ability or ability in o.abilities)
            ),
            receptacles=frozenset(r.index for r in receptacles if not light and r.type == shape.target_type),
            lamps=frozenset(
                o.index for o in items if light and o.type == shape.target_type and "toggleable" in o.abilities
            ),
        )


def _read_facts(expressions: list[Expr]) -> dict[str, set[tuple[str, ...]]]:
    """Arguments of the facts by predicate. Raises `ValueError` for a fact this engine does not know."""
    facts: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for fact in expressions:
        if not isinstance(fact, list) or not fact:
            raise ValueError(f"it has {fact!r} where a fact belongs")
        if fact[0] == "=":
            continue  # the metric of a planner
        predicate, *arguments = _words(fact)
        facts[predicate].add(tuple(arguments))
    for predicate, found in facts.items():
        for arguments in found:
            if len(arguments) != _ARITY.get(predicate):
                raise ValueError(f"its fact ({' '.join((predicate, *arguments))}) is not one this engine knows")
    return facts


def _words(expr: Expr) -> list[str]:
    """The expression as a flat list of words. Raises `ValueError` when it nests."""
    if isinstance(expr, str):
        raise ValueError(f"its problem has the word {expr!r} where a list belongs")
    words = [word for word in expr if isinstance(word, str)]
    if len(words) < len(expr):
        raise ValueError("its problem nests where a flat list belongs")
    return words
