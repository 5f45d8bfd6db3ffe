"""Writing a drawn layout as a game file that the real loader reads, with a walkthrough that has been played.

The bytes are a function of the specification alone. The domain text is empty and the grammar holds only the task
sentence and the help text; rules and other texts are those of version 2.1.2.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator

from hiper.envs.alfworld.furniture import ABILITIES, ACCEPTS, CONTAINERS, LAMPS, OPENABLE
from hiper.envs.alfworld.game import parse_game
from hiper.envs.alfworld.layout import GameSpec, Layout, draw_layout
from hiper.envs.alfworld.model import Game, TaskType
from hiper.envs.alfworld.versions import synthetic_grammar
from hiper.envs.alfworld.world import World

__all__ = ["content_key", "generate_game", "generate_json"]

_SENTENCES: dict[TaskType, tuple[str, str]] = {
    TaskType.PLACE: ("put a {o} in {r}.", "put some {o} on {r}."),
    TaskType.CLEAN: ("put a clean {o} in {r}.", "clean some {o} and put it in {r}."),
    TaskType.HEAT: ("put a hot {o} in {r}.", "heat some {o} and put it in {r}."),
    TaskType.COOL: ("put a cool {o} in {r}.", "cool some {o} and put it in {r}."),
    TaskType.TWO: ("put two {o} in {r}.", "find two {o} and put them in {r}."),
    TaskType.LIGHT: ("look at {o} under the {r}.", "examine the {o} with the {r}."),
}
_TREATED = {
    TaskType.CLEAN: "(cleanable ?o) (isClean ?o) ",
    TaskType.HEAT: "(heatable ?o) (isHot ?o) ",
    TaskType.COOL: "(coolable ?o) (isCool ?o) ",
}
_VERBS = {TaskType.CLEAN: "clean", TaskType.HEAT: "heat", TaskType.COOL: "cool"}
_STATIONS = {TaskType.CLEAN: "sinkbasintype", TaskType.HEAT: "microwavetype", TaskType.COOL: "fridgetype"}
# Constants the original's domain names: a planner wants them declared even where the room has none.
_CONSTANT_RECEPTACLES = ("SinkType", "SinkBasinType", "MicrowaveType", "FridgeType")
_CONSTANT_ITEMS = ("KnifeType", "ButterKnifeType")
_HELP = """
Available commands:
  look:                             look around where you are
  inventory:                        check what you carry
  go to (receptacle):               walk to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):    put an object in or on a receptacle
  examine (something):              examine a receptacle or the object you carry
  use (object):                     turn on an object
  heat (object) with (receptacle):  heat an object with a receptacle
  clean (object) with (receptacle): clean an object with a receptacle
  cool (object) with (receptacle):  cool an object with a receptacle
  slice (object) with (object):     slice an object with a sharp one
"""


def generate_game(spec: GameSpec) -> Game:
    """The parsed game of `spec`. Raises `DataError` for a specification outside the generator's range."""
    return parse_game(generate_json(spec), spec.task_id)


def generate_json(spec: GameSpec) -> str:
    """The game file of `spec`: canonical JSON (sorted keys, no blanks, ASCII)."""
    layout = draw_layout(spec)
    document: dict[str, object] = {
        "grammar": synthetic_grammar(_sentence(layout), _HELP.removeprefix("\n")),
        "pddl_domain": "",
        "pddl_problem": _problem(layout),
        "solvable": True,
        "walkthrough": [],
    }
    document["walkthrough"] = _walkthrough(parse_game(_canonical(document), spec.task_id))
    return _canonical(document)


def content_key(spec: GameSpec) -> str:
    """sha256 of the room and its goal, without the wording of the task: equal for games that are the same to play."""
    return hashlib.sha256(_problem(draw_layout(spec)).encode()).hexdigest()


def _canonical(document: dict[str, object]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _sentence(layout: Layout) -> str:
    sentence = _SENTENCES[layout.task_type][layout.wording]
    return "Your task is to: " + sentence.format(o=layout.item_type.lower(), r=layout.target_type.lower())


def _problem(layout: Layout) -> str:
    receptacles = _ids(layout.receptacles)
    items = _ids([kind for kind, _ in layout.items])
    lines = ["(define (problem synthetic)", "(:domain alfred)", "(:objects", "agent1 - agent"]
    lines += [f"{name} - {kind}" for name, kind in _declarations(layout, receptacles, items)]
    lines += [")", "(:init"]
    lines += [f"({' '.join(fact)})" for fact in _facts(layout, receptacles, items)]
    return "\n".join([*lines, ")", f"(:goal {_goal(layout)})", ")", ""])


def _ids(kinds: list[str]) -> list[str]:
    """One id for each thing, numbered within its type; sinks and bathtubs in two parts as in the real files."""
    counts: dict[str, int] = defaultdict(int)
    ids = []
    for kind in kinds:
        counts[kind] += 1
        furniture = kind.removesuffix("Basin")
        ids.append(f"{furniture}_bar_{counts[kind]:02d}" + (f"_bar_{kind}" if furniture != kind else ""))
    return ids


def _declarations(layout: Layout, receptacles: list[str], items: list[str]) -> Iterator[tuple[str, str]]:
    item_types = {kind for kind, _ in layout.items}
    receptacle_types = set(layout.receptacles)
    for kind in sorted({*(f"{kind}Type" for kind in item_types), *_CONSTANT_ITEMS}):
        yield kind, "otype"
    for kind in sorted({*(f"{kind}Type" for kind in receptacle_types), *_CONSTANT_RECEPTACLES}):
        yield kind, "rtype"
    for name in sorted(items):
        yield name, "object"
    for name in sorted(receptacles):
        yield name, "receptacle"
    for place in range(-1, layout.places[-1] + 1):
        yield _place(place), "location"


def _place(number: int) -> str:
    """Location id; -1 is the start, where no receptacle is."""
    return f"loc_bar_{number + 1:02d}"


def _facts(layout: Layout, receptacles: list[str], items: list[str]) -> Iterator[tuple[str, ...]]:
    yield "atLocation", "agent1", _place(-1)
    for name, kind, place in zip(receptacles, layout.receptacles, layout.places, strict=True):
        yield "receptacleType", name, f"{kind}Type"
        yield "receptacleAtLocation", name, _place(place)
        if kind in OPENABLE:
            yield "openable", name
    for i, (name, (kind, where)) in enumerate(zip(items, layout.items, strict=True)):
        yield "objectType", name, f"{kind}Type"
        yield "inReceptacle", name, receptacles[where]
        yield "objectAtLocation", name, _place(layout.places[where])
        for ability in _abilities(kind):
            yield ability, name
        if i in layout.cold:
            yield "isCool", name
    present = {kind for kind, _ in layout.items}
    for kind in sorted(set(layout.receptacles)):
        for item in ACCEPTS[kind]:
            if item in present:
                yield "canContain", f"{kind}Type", f"{item}Type"


def _abilities(kind: str) -> Iterator[str]:
    yield "toggleable" if kind in LAMPS else "pickupable"
    yield from (ability for ability, kinds in ABILITIES.items() if kind in kinds)
    if kind in CONTAINERS:
        yield "isReceptacleObject"


def _goal(layout: Layout) -> str:
    item, target = f"{layout.item_type}Type", f"{layout.target_type}Type"
    if layout.task_type is TaskType.LIGHT:
        lamp = f"(objectType ?ot {target}) (toggleable ?ot) (isToggled ?ot)"
        where = "(receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)"
        return (
            f"(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and {lamp} {where}))"
            f" (exists (?o - object ?a - agent) (and (objectType ?o {item}) (holds ?a ?o))))"
        )
    typed = "(objectType ?{o} " + item + ") (receptacleType ?r " + target + ") (inReceptacle ?{o} ?r)"
    if layout.task_type is TaskType.TWO:
        second = f"(exists (?o2 - object) (and (not (= ?o1 ?o2)) {typed.format(o='o2')}))"
        return f"(and (exists (?r - receptacle) (exists (?o1 - object) (and {typed.format(o='o1')} {second}))))"
    treated = _TREATED.get(layout.task_type, "")
    return f"(and (exists (?r - receptacle) (exists (?o - object) (and {treated}{typed.format(o='o')}))))"


def _walkthrough(game: Game) -> list[str]:
    """Solve `game`, knowing where everything is. The commands have been played and won."""
    world = World(game)
    played: list[str] = []

    def play(command: str) -> None:
        if command in world.admissible:
            world.act(command)
            played.append(command)

    def visit(receptacle: int) -> str:
        name = game.receptacles[receptacle].name
        play(f"go to {name}")
        play(f"open {name}")
        return name

    def fetch(item: int) -> str:
        where = next(r for r, found in enumerate(game.start.contents) if item in found)
        play(f"take {game.items[item].name} from {visit(where)}")
        return game.items[item].name

    goal = game.goal
    # Things outside the target first: one inside it has to be taken out, treated and put back.
    wanted = [
        o
        for _, o in sorted(
            (r in goal.receptacles, o) for r, found in enumerate(game.start.contents) for o in found if o in goal.items
        )
    ]
    if goal.task_type is TaskType.LIGHT:
        lamp = min(goal.lamps)
        fetch(wanted[0])
        play(f"go to {game.receptacles[next(r for r, o in enumerate(game.start.contents) if lamp in o)].name}")
        play(f"use {game.items[lamp].name}")
    else:
        for item in wanted[: 2 if goal.task_type is TaskType.TWO else 1]:
            if world.won:
                break  # one of the two was in its place from the start
            name = fetch(item)
            if station := _STATIONS.get(goal.task_type):
                where = next(r for r in game.receptacles if r.type == station)
                play(f"go to {where.name}")
                play(f"{_VERBS[goal.task_type]} {name} with {where.name}")
            play(f"move {name} to {visit(min(goal.receptacles))}")
    if not world.won:
        raise AssertionError(f"{game.source}: the generator drew a room its own walkthrough does not solve")
    return played
