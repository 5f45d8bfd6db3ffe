"""Solving a generated game with full knowledge of where everything is.

The commands are played while they are found, so what is returned has won. For a chain, whose sub-goals name things
and leave no choice, no shorter plan exists: every thing is carried once, straight from where it is to its station to
its place, and nothing is opened that need not be. (Bringing a thing closer beforehand costs a `take` and a `move` and
saves at most two walks. Tests compare with an exhaustive search.)
"""

from hiper.envs.alfworld.model import ChainGoal, Game, Goal, TaskType
from hiper.envs.alfworld.world import World

__all__ = ["solve"]

_VERBS = {TaskType.CLEAN: "clean", TaskType.HEAT: "heat", TaskType.COOL: "cool"}
_STATIONS = {TaskType.CLEAN: "sinkbasintype", TaskType.HEAT: "microwavetype", TaskType.COOL: "fridgetype"}


def solve(game: Game) -> list[str]:
    """Commands that win `game`. The room must hold what the task needs; `AssertionError` otherwise."""
    guide = _Guide(game)
    match game.goal:
        case ChainGoal(subgoals):
            for subgoal in subgoals:
                guide.deliver(subgoal.item, subgoal.treatment, subgoal.receptacle)
        case goal if goal.task_type is TaskType.LIGHT:
            guide.light(goal)
        case goal:
            guide.place(goal)
    if not guide.won:
        raise AssertionError(f"{game.source}: the generator drew a room its own walkthrough does not solve")
    return guide.played


class _Guide:
    """Plays `game` and writes down what was played."""

    def __init__(self, game: Game) -> None:
        self._game = game
        self._world = World(game)
        self.played: list[str] = []

    @property
    def won(self) -> bool:
        return self._world.won

    def deliver(self, item: int, treatment: TaskType, receptacle: int) -> None:
        """Take a thing from where it was at the start, treat it, and put it into its place."""
        name = self._fetch(item)
        if treatment in _STATIONS:
            station = next(r for r in self._game.receptacles if r.type == _STATIONS[treatment])
            self._play(f"go to {station.name}")
            self._play(f"{_VERBS[treatment]} {name} with {station.name}")
        self._play(f"move {name} to {self._visit(receptacle)}")

    def place(self, goal: Goal) -> None:
        """Bring one or two things to the target, those outside it first: one inside has to be taken out again."""
        contents = self._game.start.contents
        wanted = sorted(
            (r in goal.receptacles, o) for r, found in enumerate(contents) for o in found if o in goal.items
        )
        for _, item in wanted[: 2 if goal.task_type is TaskType.TWO else 1]:
            if self.won:
                break  # one of the two was in its place from the start
            self.deliver(item, goal.task_type, min(goal.receptacles))

    def light(self, goal: Goal) -> None:
        """Fetch a thing, go to the lamp and turn it on."""
        self._fetch(min(o for found in self._game.start.contents for o in found if o in goal.items))
        lamp = min(goal.lamps)
        self._play(f"go to {self._game.receptacles[self._whereabouts(lamp)].name}")
        self._play(f"use {self._game.items[lamp].name}")

    def _fetch(self, item: int) -> str:
        name = self._game.items[item].name
        self._play(f"take {name} from {self._visit(self._whereabouts(item))}")
        return name

    def _visit(self, receptacle: int) -> str:
        name = self._game.receptacles[receptacle].name
        self._play(f"go to {name}")
        self._play(f"open {name}")
        return name

    def _whereabouts(self, item: int) -> int:
        return next(r for r, found in enumerate(self._game.start.contents) if item in found)

    def _play(self, command: str) -> None:
        """Play `command` if it is on offer: one need not go where one is, nor open what is open."""
        if command in self._world.admissible:
            self._world.act(command)
            self.played.append(command)
