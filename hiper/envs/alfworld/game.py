"""Parsing ALFWorld game files into immutable `Game` objects (spec 1.2-1.4).

Everything is read strictly: a fact, a goal or a version this engine does not know makes the file unusable, with one
`DataError` that says what and where. Bytes of any kind give a game or a `DataError`, nothing else.
"""

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from sys import intern

from hiper.envs.alfworld.goal import TREATMENTS, GoalShape, read_chain, read_goal
from hiper.envs.alfworld.model import (
    ChainGoal,
    Game,
    Goal,
    InitialFacts,
    Item,
    Place,
    Receptacle,
    SubGoal,
    TaskType,
)
from hiper.envs.alfworld.problem import ABILITIES, STATES, read_problem
from hiper.envs.alfworld.text import join_names, list_names
from hiper.envs.alfworld.versions import UnknownVersionError, read_texts
from hiper.envs.alfworld.winning import won_from_the_start
from hiper.errors import DataError

__all__ = ["RefusedVersionError", "UnplayableGameError", "parse_game"]

_ROOM = "You are in the middle of a room. Looking quickly around you, you see "
_WELCOME = "-= Welcome to TextWorld, ALFRED! =-"


class UnplayableGameError(DataError):
    """The file says itself that its game cannot be solved: the original skips such games."""


class RefusedVersionError(DataError):
    """The file is of a version of ALFWorld that is not played here (spec 1.2). `version` names it."""

    def __init__(self, source: str, error: UnknownVersionError) -> None:
        super().__init__(f"{source}: unusable game: {error}", "use the json_2.1.2 game files of alfworld 0.4.x")
        self.version = error.version


def parse_game(text: str | bytes, source: str) -> Game:
    """Parse one game file. `source` names it in messages. Raises `DataError` when the file cannot be used."""
    raw = text.encode() if isinstance(text, str) else text
    try:
        document = _Document.read(raw)
        if not document.solvable:
            raise UnplayableGameError(f"{source}: the game is marked unsolvable", "leave it out, as the original does")
        game = _Builder(document, source).build()
        if won_from_the_start(game):
            raise ValueError("its goal is true before the first command")
        return game
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{source}: not a game file: {error}", "download the game files again") from error
    except KeyError as error:
        raise DataError(f"{source}: corrupt game: nothing known about {error}", "download it again") from error
    except RecursionError as error:
        raise DataError(f"{source}: not a game file: it nests too deeply", "download it again") from error
    except UnknownVersionError as error:
        raise RefusedVersionError(source, error) from error
    except ValueError as error:
        raise DataError(
            f"{source}: unusable game: {error}", "use the json_2.1.2 game files of alfworld 0.4.x"
        ) from error


@dataclass(frozen=True, slots=True)
class _Document:
    """The fields of a game file, their types checked."""

    raw: bytes
    domain: str
    grammar: str
    problem: str
    solvable: bool
    walkthrough: tuple[str, ...]
    shortest_plan: int | None

    @classmethod
    def read(cls, raw: bytes) -> "_Document":
        fields = json.loads(raw.decode())
        if not isinstance(fields, dict):
            raise ValueError("it is not a JSON object")
        domain, grammar, problem = (_text(fields, name) for name in ("pddl_domain", "grammar", "pddl_problem"))
        walkthrough, shortest = fields.get("walkthrough", []), fields.get("shortest_plan")
        if not isinstance(walkthrough, list) or not all(isinstance(command, str) for command in walkthrough):
            raise ValueError("its walkthrough is not a list of commands")
        if shortest is not None and not isinstance(shortest, int):
            raise ValueError("its shortest_plan is not a number of commands")
        solvable = fields.get("solvable") is True
        return cls(raw, domain, grammar, problem, solvable, tuple(walkthrough), shortest)

    def content_sha256(self) -> str:
        return hashlib.sha256("\0".join((self.problem, self.grammar, self.domain)).encode()).hexdigest()


def _text(fields: dict[str, object], name: str) -> str:
    text = fields.get(name)
    if not isinstance(text, str):
        raise ValueError(f"its field {name!r} is missing or not a text")
    return text


class _Builder:
    """The steps from document to `Game`, sharing the intermediate tables."""

    def __init__(self, document: _Document, source: str) -> None:
        self.source = source
        self.document = document
        self.texts = read_texts(document.domain, document.grammar)
        self.problem = read_problem(document.problem)

    def build(self) -> Game:
        self._name_things()
        receptacles, items = self._receptacles(), self._items()
        places = self._places(receptacles)
        all_names = list_names([r.name for r in receptacles])
        opening = f"{_WELCOME}\n\n{_ROOM}{all_names}.\n\n{self.texts.task}"
        opening.encode()  # JSON can spell characters that no text on the wire may have: refused here, not in a session
        return Game(
            source=self.source,
            version=self.texts.version,
            sha256=hashlib.sha256(self.document.raw).hexdigest(),
            content_sha256=self.document.content_sha256(),
            file_bytes=len(self.document.raw),
            task=self.texts.task,
            help=intern(self.texts.help),
            walkthrough=self.document.walkthrough,
            shortest_plan=self.document.shortest_plan,
            goal=self._goal(items, receptacles),
            items=items,
            receptacles=receptacles,
            places=places,
            go={f"go to {r.name}": r for r in receptacles},
            room=_ROOM,
            opening=opening,
            start=self._start(),
        )

    def _name_things(self) -> None:
        """Give every id its shown name: within a base name the first id has the highest number."""
        by_base: dict[str, list[str]] = defaultdict(list)
        for symbol in sorted(symbol for symbol in self.problem.kinds if "_bar_" in symbol):
            base = symbol.partition("_bar_")[0] + ("basin" if "basin" in symbol else "")
            by_base[base].append(symbol)
        self.names = {
            symbol: intern(f"{base} {len(symbols) - i}")
            for base, symbols in by_base.items()
            for i, symbol in enumerate(symbols)
        }
        self.receptacle_ids = [s for s in sorted(self.names) if self.problem.kinds[s] == "receptacle"]
        self.item_ids = [s for s in sorted(self.names) if self.problem.kinds[s] == "object"]
        self.receptacle_index = {symbol: i for i, symbol in enumerate(self.receptacle_ids)}
        self.item_index = {symbol: i for i, symbol in enumerate(self.item_ids)}
        self.receptacle_place = self.problem.function("receptacleatlocation")
        ((_, start),) = self.problem.facts["atlocation"]
        locations = sorted({start, *self.receptacle_place.values()})
        self.place_index = {location: i for i, location in enumerate(locations)}
        self.start_place = self.place_index[start]

    def _receptacles(self) -> tuple[Receptacle, ...]:
        types = self.problem.function("receptacletype")
        accepted: dict[str, set[str]] = defaultdict(set)
        for receptacle_type, item_type in self.problem.facts["cancontain"]:
            accepted[receptacle_type].add(intern(item_type))
        accepts = {kind: frozenset(accepted[kind]) for kind in set(types.values())}
        openable = self.problem.unary("openable")
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
        types = self.problem.function("objecttype")
        abilities: dict[str, set[str]] = defaultdict(set)
        for ability in ABILITIES:
            for symbol in self.problem.unary(ability):
                abilities[symbol].add(ability)
        shared = {frozenset(words): frozenset(words) for words in (*abilities.values(), ())}
        inside: dict[str, list[str]] = defaultdict(list)
        for inner, outer in sorted(self.problem.facts["inreceptacleobject"]):
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
        for item, receptacle in self.problem.facts["inreceptacle"]:
            contents[self.receptacle_index[receptacle]].add(self.item_index[item])
        located: list[set[int]] = [set() for _ in self.item_ids]
        for item, location in self.problem.facts["objectatlocation"]:
            # A location no receptacle is at can never be visited, so nothing there can ever be shown.
            if location in self.place_index:
                located[self.item_index[item]].add(self.place_index[location])
        return InitialFacts(
            place=self.start_place,
            contents=tuple(tuple(sorted(found)) for found in contents),
            located=tuple(frozenset(found) for found in located),
            opened=frozenset(self.receptacle_index[symbol] for symbol in self.problem.unary("opened")),
            marks=tuple(
                (state, frozenset(self.item_index[symbol] for symbol in self.problem.unary(state))) for state in STATES
            ),
        )

    def _goal(self, items: tuple[Item, ...], receptacles: tuple[Receptacle, ...]) -> Goal | ChainGoal:
        chain = read_chain(self.problem.goal)
        if chain is None:
            return _resolve(read_goal(self.problem.goal), items, receptacles)
        return ChainGoal(
            tuple(
                SubGoal(self.item_index[link.item], link.treatment, self.receptacle_index[link.receptacle])
                for link in chain
            )
        )


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
