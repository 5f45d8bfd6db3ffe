"""Writing a drawn room as the problem text of a game file, in the form of the real ones (spec 1.3, 6.1)."""

from collections import defaultdict
from collections.abc import Iterator

from hiper.envs.alfworld.furniture import ABILITIES, ACCEPTS, CONTAINERS, LAMPS, OPENABLE
from hiper.envs.alfworld.layout import Layout

__all__ = ["problem_text", "thing_ids"]

# Constants the original's domain names: a planner wants them declared even where the room has none.
_CONSTANT_RECEPTACLES = ("SinkType", "SinkBasinType", "MicrowaveType", "FridgeType")
_CONSTANT_ITEMS = ("KnifeType", "ButterKnifeType")


def problem_text(layout: Layout, goal: str) -> str:
    """The problem of `layout`, whose things are called as `thing_ids` says."""
    receptacles = thing_ids(layout.receptacles)
    items = thing_ids([kind for kind, _ in layout.items])
    lines = ["(define (problem synthetic)", "(:domain alfred)", "(:objects", "agent1 - agent"]
    lines += [f"{name} - {kind}" for name, kind in _declarations(layout, receptacles, items)]
    lines += [")", "(:init"]
    lines += [f"({' '.join(fact)})" for fact in _facts(layout, receptacles, items)]
    return "\n".join([*lines, ")", f"(:goal {goal})", ")", ""])


def thing_ids(kinds: list[str]) -> list[str]:
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
