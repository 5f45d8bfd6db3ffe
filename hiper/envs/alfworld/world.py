"""The facts of one session that change, the commands on offer, and what each command does and says (spec 1.5-1.7).

Invariants:
- Per-session memory is one small list per kind of fact; contents and locations are immutable values, replaced on
  change, so a reset copies pointers only and the game stays shared.
- The commands on offer depend on the agent's place, the hands and what is open or inside there: they are rebuilt after
  the five commands that change these, for the current place only.
- The goal can only become true through a command that adds one of its facts, so it is evaluated after those alone, and
  for the thing that changed alone.
"""

from bisect import bisect_left
from collections.abc import Callable

from hiper.envs.alfworld.model import Game, Item, Receptacle, TaskType
from hiper.envs.alfworld.text import list_names

__all__ = ["NOTHING_HAPPENS", "World", "won_from_the_start"]

NOTHING_HAPPENS = "Nothing happens."
"""The answer to a command that is not on offer."""

Command = tuple[Callable[..., str], *tuple[Item | Receptacle, ...]]

_KNIVES = frozenset({"knifetype", "butterknifetype"})
_SINKS = frozenset({"sinkbasintype", "sinktype"})


class World:
    """Mutable state of one session of `game`, from its start."""

    __slots__ = (
        "_clean",
        "_contents",
        "_cool",
        "_held",
        "_here",
        "_hot",
        "_local",
        "_located",
        "_opened",
        "_sliced",
        "_taken",
        "_toggled",
        "admissible",
        "game",
        "won",
    )

    def __init__(self, game: Game) -> None:
        start = game.start
        marks = dict(start.marks)
        self.game = game
        self.won = False
        self._here = game.places[start.place]
        self._held: Item | None = None
        self._contents = list(start.contents)
        self._located = list(start.located)
        self._opened = set(start.opened)
        self._clean, self._hot, self._cool = set(marks["isclean"]), set(marks["ishot"]), set(marks["iscool"])
        self._sliced, self._toggled = set(marks["issliced"]), set(marks["istoggled"])
        self._taken: set[tuple[int, int]] = set()  # (item, receptacle): taken from there and not put back since
        self._local: dict[str, Command] = {}
        self.admissible: tuple[str, ...] = ()
        self._offer()

    def act(self, command: str) -> str | None:
        """Carry out `command` and return its text; None when it is not on offer, and then nothing has changed."""
        receptacle = self.game.go.get(command)
        if receptacle is not None:
            return self._go(receptacle) if receptacle.place != self._here.index else None
        found = self._local.get(command)
        if found is None:
            return None
        effect, *things = found
        return effect(self, *things)

    # -- commands on offer -----------------------------------------------------------------------------------------

    def _offer(self) -> None:
        """Rebuild the commands of this place; the shared `go to` commands are slotted in where the order puts them."""
        local: dict[str, Command] = dict(_ALWAYS)
        for receptacle in self._here.receptacles:
            name, index = receptacle.name, receptacle.index
            local[f"examine {name}"] = (World._examine_receptacle, receptacle)
            if receptacle.openable:
                if index in self._opened:
                    local[f"close {name}"] = (World._close, receptacle)
                else:
                    local[f"open {name}"] = (World._open, receptacle)
            self._offer_contents(receptacle, local)
        if self._held is not None:
            self._offer_held(self._held, local)
        self._local = local
        commands = sorted(local)
        cut = bisect_left(commands, "go to")
        self.admissible = (*commands[:cut], *self._here.go, *commands[cut:])

    def _offer_contents(self, receptacle: Receptacle, local: dict[str, Command]) -> None:
        takes = self._held is None and self._accessible(receptacle)
        for index in self._contents[receptacle.index]:
            item = self.game.items[index]
            if takes and "pickupable" in item.abilities:
                local[f"take {item.name} from {receptacle.name}"] = (World._take, item, receptacle)
            if "toggleable" in item.abilities:
                local[f"use {item.name}"] = (World._use, item)

    def _offer_held(self, held: Item, local: dict[str, Command]) -> None:
        name = held.name
        local[f"examine {name}"] = (World._examine_item, held)
        for receptacle in self._here.receptacles:
            if held.type in receptacle.accepts and self._accessible(receptacle):
                local[f"move {name} to {receptacle.name}"] = (World._move, held, receptacle)
            if receptacle.type == "microwavetype" and "heatable" in held.abilities:
                local[f"heat {name} with {receptacle.name}"] = (World._heat, held, receptacle)
            if receptacle.type == "fridgetype" and "coolable" in held.abilities:
                local[f"cool {name} with {receptacle.name}"] = (World._cool_down, held, receptacle)
            if receptacle.type in _SINKS and "cleanable" in held.abilities:
                local[f"clean {name} with {receptacle.name}"] = (World._wash, held, receptacle)
        if held.type in _KNIVES:
            for item in self.game.items:
                if "sliceable" in item.abilities and self._here.index in self._located[item.index]:
                    local[f"slice {item.name} with {name}"] = (World._slice, item, held)

    def _accessible(self, receptacle: Receptacle) -> bool:
        return not receptacle.openable or receptacle.index in self._opened

    # -- effects, each answering with its text ---------------------------------------------------------------------

    def _go(self, receptacle: Receptacle) -> str:
        self._here = self.game.places[receptacle.place]
        self._offer()
        self._check_light()
        return f"You arrive at {receptacle.name}. {self._examine_receptacle(receptacle)}"

    def _open(self, receptacle: Receptacle) -> str:
        self._opened.add(receptacle.index)
        self._offer()
        return f"You open the {receptacle.name}. {self._examine_receptacle(receptacle)}"

    def _close(self, receptacle: Receptacle) -> str:
        self._opened.remove(receptacle.index)
        self._offer()
        return f"You close the {receptacle.name}."

    def _take(self, item: Item, receptacle: Receptacle) -> str:
        r, o = receptacle.index, item.index
        self._contents[r] = tuple(other for other in self._contents[r] if other != o)
        self._located[o] -= {self._here.index}
        self._taken.add((o, r))
        self._held = item
        self._offer()
        self._check_light()
        return f"You pick up the {item.name} from the {receptacle.name}."

    def _move(self, item: Item, receptacle: Receptacle) -> str:
        r, o = receptacle.index, item.index
        if o not in self._contents[r]:  # it never left a receptacle it was in besides the one it was taken from
            self._contents[r] = tuple(sorted((*self._contents[r], o)))
        self._located[o] |= {self._here.index}
        self._taken.discard((o, r))
        self._held = None
        self._offer()
        self._check_placed(item)
        return f"You move the {item.name} to the {receptacle.name}."

    def _wash(self, item: Item, receptacle: Receptacle) -> str:
        self._clean.add(item.index)
        self._check_placed(item)
        return f"You clean the {item.name} using the {receptacle.name}."

    def _heat(self, item: Item, receptacle: Receptacle) -> str:
        self._hot.add(item.index)
        self._cool.discard(item.index)
        self._check_placed(item)
        return f"You heat the {item.name} using the {receptacle.name}."

    def _cool_down(self, item: Item, receptacle: Receptacle) -> str:
        self._cool.add(item.index)
        self._hot.discard(item.index)
        self._check_placed(item)
        return f"You cool the {item.name} using the {receptacle.name}."

    def _use(self, item: Item) -> str:
        self._toggled.add(item.index)
        self._check_light()
        return f"You turn on the {item.name}."

    def _slice(self, item: Item, knife: Item) -> str:
        self._sliced.add(item.index)
        return f"You sliced the {item.name} with the {knife.name}."

    # -- descriptions ----------------------------------------------------------------------------------------------

    def _look(self) -> str:
        here = self._here
        if not here.receptacles:
            return f"{self.game.room}nothing."
        floor = {
            o for o, r in self._taken if here.index in self._located[o] and self.game.receptacles[r].place == here.index
        }
        return f"{here.facing}{self._list(tuple(sorted(floor)))}."

    def _inventory(self) -> str:
        return f"You are carrying: a {self._held.name}." if self._held else "You are not carrying anything."

    def _help(self) -> str:
        return self.game.help

    def _examine_receptacle(self, receptacle: Receptacle) -> str:
        name, index = receptacle.name, receptacle.index
        if not receptacle.openable:
            return f"On the {name}, you see {self._list(self._contents[index])}."
        if index not in self._opened:
            return f"The {name} is closed."
        return f"The {name} is open. In it, you see {self._list(self._contents[index])}."

    def _examine_item(self, item: Item) -> str:
        name, o = item.name, item.index
        if "isreceptacleobject" in item.abilities:
            return f"This is a normal {name}. In it, you see {list_names(item.inside)}."
        clean, hot, cool, sliced = (o in marks for marks in (self._clean, self._hot, self._cool, self._sliced))
        toggled = o in self._toggled
        if not (clean or hot or cool or sliced or toggled):
            return f"There's nothing special about {name}."
        if toggled and not (clean or hot or cool):
            return f"This {name} is on."
        if cool and not (clean or hot or sliced):
            return f"This is a cold {name}."
        heat = "hot" if hot else "cool" if cool else ""
        words = " and ".join(word for word in (heat, "clean" if clean else "") if word)
        return f"This is a {' '.join(word for word in (words, 'sliced' if sliced else '', name) if word)}."

    def _list(self, indices: tuple[int, ...]) -> str:
        items = self.game.items
        return list_names([items[i].name for i in indices])

    # -- goal ------------------------------------------------------------------------------------------------------

    def _check_light(self) -> None:
        """After a change of place, hands or lamps."""
        goal, held = self.game.goal, self._held
        if goal.task_type is TaskType.LIGHT and held is not None and held.index in goal.items:
            lit = goal.lamps & self._toggled
            inside = (self._contents[r.index] for r in self._here.receptacles)
            self.won = bool(lit) and any(not lit.isdisjoint(found) for found in inside)

    def _check_placed(self, item: Item) -> None:
        """After `item` was put somewhere or treated."""
        self.won = self.holds_for(item)

    def holds_for(self, item: Item) -> bool:
        """Whether the goal, unless it is about light, holds by where `item` is and how it was treated."""
        goal, o = self.game.goal, item.index
        if goal.task_type is TaskType.LIGHT or o not in goal.items or not self._treated(o):
            return False
        needed = 2 if goal.task_type is TaskType.TWO else 1
        return any(
            o in found and sum(other in goal.items for other in found) >= needed
            for found in (self._contents[r] for r in goal.receptacles)
        )

    def _treated(self, item: int) -> bool:
        match self.game.goal.task_type:
            case TaskType.CLEAN:
                return item in self._clean
            case TaskType.HEAT:
                return item in self._hot
            case TaskType.COOL:
                return item in self._cool
            case _:
                return True


def won_from_the_start(game: Game) -> bool:
    """Whether the goal holds before the first command. Nothing is held then, so goals about light cannot."""
    world = World(game)
    return any(world.holds_for(game.items[o]) for o in game.goal.items)


_ALWAYS: dict[str, Command] = {
    "look": (World._look,),
    "inventory": (World._inventory,),
    "help": (World._help,),
}
