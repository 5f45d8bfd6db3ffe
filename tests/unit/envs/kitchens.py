"""A hand-made ALFWorld kitchen: small enough to read, with the real data's oddities, and how to write it as a file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from hiper.envs.alfworld.engine import AlfworldEpisode
from hiper.envs.alfworld.game import parse_game
from hiper.envs.alfworld.model import Game
from hiper.envs.alfworld.versions import synthetic_grammar

RECEPTACLES = {
    # id: (type, place, openable)
    "Fridge_bar_1": ("FridgeType", "loc_bar_1", True),
    "Microwave_bar_1": ("MicrowaveType", "loc_bar_2", True),
    "Sink_bar_1_bar_SinkBasin": ("SinkBasinType", "loc_bar_3", False),
    "CounterTop_bar_1": ("CounterTopType", "loc_bar_4", False),
    "CounterTop_bar_2": ("CounterTopType", "loc_bar_4", False),  # two at one place
    "SideTable_bar_1": ("SideTableType", "loc_bar_5", False),
}
ITEMS = {
    # id: (type, receptacles it is in, place by its own fact, abilities)
    "Apple_bar_1": ("AppleType", ("CounterTop_bar_1",), "loc_bar_4", "cleanable heatable coolable sliceable"),
    "Apple_bar_2": ("AppleType", ("SideTable_bar_1",), "loc_bar_5", "cleanable heatable coolable sliceable"),
    "Knife_bar_1": ("KnifeType", ("CounterTop_bar_2",), "loc_bar_4", "cleanable"),
    # in two receptacles at different places at once, as 1,557 of the real games have it
    "Mug_bar_1": ("MugType", ("CounterTop_bar_1", "SideTable_bar_1"), "loc_bar_5", "heatable isReceptacleObject"),
    "Spoon_bar_1": ("SpoonType", (), "loc_bar_4", ""),
    "DeskLamp_bar_1": ("DeskLampType", ("SideTable_bar_1",), "loc_bar_5", "toggleable"),
}
PLACED = "(and (exists (?r - receptacle) (exists (?o - object) (and {0} (inReceptacle ?o ?r)))))"
APPLE_IN = "(objectType ?o AppleType) (receptacleType ?r {0})"
GOALS = {
    "place": PLACED.format(APPLE_IN.format("FridgeType")),
    "clean": PLACED.format(APPLE_IN.format("SideTableType") + "(cleanable ?o) (isClean ?o)"),
    "heat": PLACED.format(APPLE_IN.format("SideTableType") + "(heatable ?o) (isHot ?o)"),
    "cool": PLACED.format(APPLE_IN.format("SideTableType") + "(coolable ?o) (isCool ?o)"),
    "two": """(and (exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 AppleType)
        (receptacleType ?r CounterTopType) (inReceptacle ?o1 ?r) (exists (?o2 - object) (and (not (= ?o1 ?o2))
        (objectType ?o2 AppleType) (receptacleType ?r CounterTopType) (inReceptacle ?o2 ?r)))))))""",
    "light": """(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and (objectType ?ot DeskLampType)
        (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)))
        (exists (?o - object ?a - agent) (and (objectType ?o AppleType) (holds ?a ?o))))""",
}


def facts() -> list[str]:
    lines = ["(atLocation agent1 loc_bar_0)", "(= (total-cost) 0)"]
    for name, (kind, place, openable) in RECEPTACLES.items():
        lines += [f"(receptacleType {name} {kind})", f"(receptacleAtLocation {name} {place})"]
        lines += [f"(openable {name})"] if openable else []
        lines += [f"(canContain {kind} {item_type})" for item_type, *_ in ITEMS.values() if item_type != "DeskLampType"]
    for name, (kind, where, place, abilities) in ITEMS.items():
        lines += [f"(objectType {name} {kind})", f"(objectAtLocation {name} {place})"]
        lines += [f"(inReceptacle {name} {receptacle})" for receptacle in where]
        lines += [f"({ability} {name})" for ability in abilities.split()]
        lines += [f"(pickupable {name})"] if "toggleable" not in abilities else []
    lines.append("(inReceptacleObject Spoon_bar_1 Mug_bar_1)")
    return lines


def problem(goal: str, extra: Sequence[str] = ()) -> str:
    declared = [f"{name} - receptacle" for name in RECEPTACLES] + [f"{name} - object" for name in ITEMS]
    declared += ["agent1 - agent", "Apple - object", *(f"loc_bar_{i} - location" for i in range(6))]
    init = "\n".join([*facts(), *facts()[:5], *extra])  # facts repeat in the real files
    objects = "\n".join(declared)
    return f"(define (problem p) (:domain alfred) ; a kitchen\n(:objects {objects})\n(:init {init})\n(:goal {goal}))"


def document(goal: str = "place", extra: Sequence[str] = (), **fields: object) -> dict[str, object]:
    return {
        "pddl_domain": "",
        "grammar": synthetic_grammar('Your task is to: put the "red" apple in fridge.', "Some help.\n"),
        "pddl_problem": problem(GOALS.get(goal, goal), extra),
        "solvable": True,
        "walkthrough": [],
        **fields,
    }


def kitchen(goal: str = "place", extra: Sequence[str] = ()) -> Game:
    return parse_game(json.dumps(document(goal, extra)), "kitchen.tw-pddl")


def say(episode: AlfworldEpisode, *commands: str) -> list[str]:
    return [episode.step(command).observation for command in commands]


def write_games(root: Path, games: Mapping[str, dict[str, object]]) -> Path:
    """A tree of game files by id, as `alfworld-download` leaves it; returns `root`."""
    for game_id, content in games.items():
        folder = root / "json_2.1.1" / game_id
        folder.mkdir(parents=True)
        (folder / "game.tw-pddl").write_text(json.dumps(content))
    return root
