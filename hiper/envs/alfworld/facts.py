"""The facts of one session that change. Contents and locations are immutable values, replaced on change, so that a
session begins by copying pointers only and the game stays shared: a session takes 3-4 kB.
"""

from hiper.envs.alfworld.model import Game, Item

__all__ = ["Facts"]


class Facts:
    """Mutable facts of a session of `game`, from its start. Items and receptacles are meant by their indices."""

    __slots__ = (
        "clean",
        "contents",
        "cool",
        "held",
        "here",
        "hot",
        "located",
        "opened",
        "reached",
        "sliced",
        "taken",
        "toggled",
    )

    def __init__(self, game: Game) -> None:
        start = game.start
        marks = dict(start.marks)
        self.here = game.places[start.place]
        self.held: Item | None = None
        self.contents = list(start.contents)
        """By receptacle: items in it, sorted."""
        self.located = list(start.located)
        """By item: places its location facts name."""
        self.opened = set(start.opened)
        self.clean, self.hot, self.cool = set(marks["isclean"]), set(marks["ishot"]), set(marks["iscool"])
        self.sliced, self.toggled = set(marks["issliced"]), set(marks["istoggled"])
        self.taken: set[tuple[int, int]] = set()
        """(item, receptacle): taken from there and not put back since."""
        self.reached = 0
        """Sub-goals of a chain reached in their order: the order facts of a horizon game."""
