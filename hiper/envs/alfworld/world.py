"""The commands on offer in one session, and what each of them does and says (spec 1.5, 1.6).

The commands on offer depend on the agent's place, the hands and what is open or inside there: they are rebuilt after
the five commands that change these, for the current place only.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from hiper.envs.alfworld.facts import Facts
from hiper.envs.alfworld.model import Game, Item, Receptacle
from hiper.envs.alfworld.text import list_names
from hiper.envs.alfworld.winning import won_by_light, won_by_placing

__all__ = ["NOTHING_HAPPENS", "World"]

NOTHING_HAPPENS = "Nothing happens."
"""The answer to a command that is not on offer."""

Command = tuple[Callable[..., str], *tuple[Item | Receptacle, ...]]

_KNIVES = frozenset({"knifetype", "butterknifetype"})
_SINKS = frozenset({"sinkbasintype", "sinktype"})


class World:
    """One session of `game`, from its start."""

    __slots__ = ("_facts", "_local", "admissible", "game", "won")

    def __init__(self, game: Game) -> None:
        self.game = game
        self.won = False
        """Whether the goal has been reached."""
        self._facts = Facts(game)
        self._local: dict[str, Command] = {}
        self.admissible: tuple[str, ...] = ()
        self._offer()

    def act(self, command: str) -> str | None:
        """Carry out `command` and return its text; None when it is not on offer, and then nothing has changed."""
        receptacle = self.game.go.get(command)
        if receptacle is not None:
            return self._go(receptacle) if receptacle.place != self._facts.here.index else None
        found = self._local.get(command)
        if found is None:
            return None
        effect, *things = found
        return effect(self, *things)

    # -- commands on offer -----------------------------------------------------------------------------------------

    def _offer(self) -> None:
        """Rebuild the commands of this place; the shared `go to` commands are slotted in where the order puts them."""
        here, held = self._facts.here, self._facts.held
        local: dict[str, Command] = dict(_ALWAYS)
        for receptacle in here.receptacles:
            name = receptacle.name
            local[f"examine {name}"] = (World._examine_receptacle, receptacle)
            if receptacle.openable:
                if receptacle.index in self._facts.opened:
                    local[f"close {name}"] = (World._close, receptacle)
                else:
                    local[f"open {name}"] = (World._open, receptacle)
            self._offer_contents(receptacle, local)
        if held is not None:
            self._offer_held(held, local)
        self._local = local
        commands = sorted(local)
        cut = bisect_left(commands, "go to")
        self.admissible = (*commands[:cut], *here.go, *commands[cut:])

    def _offer_contents(self, receptacle: Receptacle, local: dict[str, Command]) -> None:
        takes = self._facts.held is None and self._accessible(receptacle)
        for index in self._facts.contents[receptacle.index]:
            item = self.game.items[index]
            if takes and "pickupable" in item.abilities:
                local[f"take {item.name} from {receptacle.name}"] = (World._take, item, receptacle)
            if "toggleable" in item.abilities:
                local[f"use {item.name}"] = (World._use, item)

    def _offer_held(self, held: Item, local: dict[str, Command]) -> None:
        name = held.name
        local[f"examine {name}"] = (World._examine_item, held)
        for receptacle in self._facts.here.receptacles:
            if held.type in receptacle.accepts and self._accessible(receptacle):
                local[f"move {name} to {receptacle.name}"] = (World._move, held, receptacle)
            if receptacle.type == "microwavetype" and "heatable" in held.abilities:
                local[f"heat {name} with {receptacle.name}"] = (World._heat, held, receptacle)
            if receptacle.type == "fridgetype" and "coolable" in held.abilities:
                local[f"cool {name} with {receptacle.name}"] = (World._cool_down, held, receptacle)
            if receptacle.type in _SINKS and "cleanable" in held.abilities:
                local[f"clean {name} with {receptacle.name}"] = (World._wash, held, receptacle)
        if held.type in _KNIVES:
            here, located = self._facts.here.index, self._facts.located
            for item in self.game.items:
                if "sliceable" in item.abilities and here in located[item.index]:
                    local[f"slice {item.name} with {name}"] = (World._slice, item, held)

    def _accessible(self, receptacle: Receptacle) -> bool:
        return not receptacle.openable or receptacle.index in self._facts.opened

    # -- effects, each answering with its text ---------------------------------------------------------------------

    def _go(self, receptacle: Receptacle) -> str:
        self._facts.here = self.game.places[receptacle.place]
        self._offer()
        self._check_light()
        return f"You arrive at {receptacle.name}. {self._examine_receptacle(receptacle)}"

    def _open(self, receptacle: Receptacle) -> str:
        self._facts.opened.add(receptacle.index)
        self._offer()
        return f"You open the {receptacle.name}. {self._examine_receptacle(receptacle)}"

    def _close(self, receptacle: Receptacle) -> str:
        self._facts.opened.remove(receptacle.index)
        self._offer()
        return f"You close the {receptacle.name}."

    def _take(self, item: Item, receptacle: Receptacle) -> str:
        facts, r, o = self._facts, receptacle.index, item.index
        facts.contents[r] = tuple(other for other in facts.contents[r] if other != o)
        facts.located[o] -= {facts.here.index}
        facts.taken.add((o, r))
        facts.held = item
        self._offer()
        self._check_light()
        return f"You pick up the {item.name} from the {receptacle.name}."

    def _move(self, item: Item, receptacle: Receptacle) -> str:
        facts, r, o = self._facts, receptacle.index, item.index
        if o not in facts.contents[r]:  # it never left a receptacle it was in besides the one it was taken from
            facts.contents[r] = tuple(sorted((*facts.contents[r], o)))
        facts.located[o] |= {facts.here.index}
        facts.taken.discard((o, r))
        facts.held = None
        self._offer()
        self._check_placed(item)
        return f"You move the {item.name} to the {receptacle.name}."

    def _wash(self, item: Item, receptacle: Receptacle) -> str:
        self._facts.clean.add(item.index)
        self._check_placed(item)
        return f"You clean the {item.name} using the {receptacle.name}."

    def _heat(self, item: Item, receptacle: Receptacle) -> str:
        self._facts.hot.add(item.index)
        self._facts.cool.discard(item.index)
        self._check_placed(item)
        return f"You heat the {item.name} using the {receptacle.name}."

    def _cool_down(self, item: Item, receptacle: Receptacle) -> str:
        self._facts.cool.add(item.index)
        self._facts.hot.discard(item.index)
        self._check_placed(item)
        return f"You cool the {item.name} using the {receptacle.name}."

    def _use(self, item: Item) -> str:
        self._facts.toggled.add(item.index)
        self._check_light()
        return f"You turn on the {item.name}."

    def _slice(self, item: Item, knife: Item) -> str:
        self._facts.sliced.add(item.index)
        return f"You sliced the {item.name} with the {knife.name}."

    # -- descriptions ----------------------------------------------------------------------------------------------

    def _look(self) -> str:
        here, located, receptacles = self._facts.here, self._facts.located, self.game.receptacles
        if not here.receptacles:
            return f"{self.game.room}nothing."
        taken_here = {o for o, r in self._facts.taken if receptacles[r].place == here.index}
        floor = [o for o in sorted(taken_here) if here.index in located[o]]
        return f"{here.facing}{self._list(floor)}."

    def _inventory(self) -> str:
        held = self._facts.held
        return f"You are carrying: a {held.name}." if held else "You are not carrying anything."

    def _help(self) -> str:
        return self.game.help

    def _examine_receptacle(self, receptacle: Receptacle) -> str:
        name, index = receptacle.name, receptacle.index
        if not receptacle.openable:
            return f"On the {name}, you see {self._list(self._facts.contents[index])}."
        if index not in self._facts.opened:
            return f"The {name} is closed."
        return f"The {name} is open. In it, you see {self._list(self._facts.contents[index])}."

    def _examine_item(self, item: Item) -> str:
        facts, name, o = self._facts, item.name, item.index
        if "isreceptacleobject" in item.abilities:
            return f"This is a normal {name}. In it, you see {list_names(item.inside)}."
        clean, hot, cool, sliced = (o in marks for marks in (facts.clean, facts.hot, facts.cool, facts.sliced))
        toggled = o in facts.toggled
        if not (clean or hot or cool or sliced or toggled):
            return f"There's nothing special about {name}."
        if toggled and not (clean or hot or cool):
            return f"This {name} is on."
        if cool and not (clean or hot or sliced):
            return f"This is a cold {name}."
        heat = "hot" if hot else "cool" if cool else ""
        words = " and ".join(word for word in (heat, "clean" if clean else "") if word)
        return f"This is a {' '.join(word for word in (words, 'sliced' if sliced else '', name) if word)}."

    def _list(self, indices: Sequence[int]) -> str:
        items = self.game.items
        return list_names([items[i].name for i in indices])

    # -- goal ------------------------------------------------------------------------------------------------------

    def _check_light(self) -> None:
        """After a change of place, hands or lamps."""
        self.won = self.won or won_by_light(self.game.goal, self._facts)

    def _check_placed(self, item: Item) -> None:
        """After `item` was put somewhere or treated."""
        self.won = self.won or won_by_placing(self.game.goal, self._facts, item.index)


_ALWAYS: dict[str, Command] = {
    "look": (World._look,),
    "inventory": (World._inventory,),
    "help": (World._help,),
}
