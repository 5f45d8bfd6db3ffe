"""A scripted player that knows only what it has seen: the baseline, and the demonstrator of the warm start (spec 1.8).

It searches receptacles at random without remembering where it has been, because a model that reads one or two turns of
history can imitate that and cannot imitate "never go twice" (learning.md 8). Its weaknesses are settings: random
actions (`noise`), and whole episodes in which it forgets to clean, heat or cool (`forget`).
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hiper.envs.base import Episode
from hiper.errors import DataError
from hiper.vocabulary import Switch

__all__ = ["Decision", "DemoTurn", "Demonstration", "PlayerConfig", "SearchPlayer", "demonstrate"]

_TREAT = {"clean": "clean", "hot": "heat", "cool": "cool", "heat": "heat"}
_STATION = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
_UNDONE_BY = {"heat": "cool", "cool": "heat"}
_SENTENCES = tuple(
    re.compile(pattern)
    for pattern in (
        r"look at (?P<item>\w+) under the (?P<lamp>\w+)\.",
        r"examine the (?P<item>\w+) with the (?P<lamp>\w+)\.",
        r"put (?P<two>two) (?P<item>\w+) in (?P<target>\w+)\.",
        r"find (?P<two>two) (?P<item>\w+) and put them in (?P<target>\w+)\.",
        r"put a (?P<treat>clean|hot|cool) (?P<item>\w+) in (?P<target>\w+)\.",
        r"(?P<treat>clean|heat|cool) some (?P<item>\w+) and put it in (?P<target>\w+)\.",
        r"put (?:a|some) (?P<item>\w+) (?:in|on) (?P<target>\w+)\.",
        r"put (?P<item>\w+ \d+) in (?P<target>\w+ \d+)\.",
        r"(?P<treat>clean|heat|cool) (?P<item>\w+ \d+) and put it in (?P<target>\w+ \d+)\.",
    )
)
"""ALFWorld's sentences, and the clauses of a horizon game."""
_TAKEN = re.compile(r"You pick up the (.+) from the .+\.")
_MOVED = re.compile(r"You move the (.+) to the (.+)\.")
_TREATED = re.compile(r"You (clean|heat|cool) the (.+) using the .+\.")


@dataclass(frozen=True, slots=True)
class PlayerConfig:
    """How the player errs. Both are probabilities."""

    noise: float = 0.05
    """Of a random action among those shown, at every turn."""
    forget: float = 0.6
    """Of an episode in which cleaning, heating or cooling is left out."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One turn of the plan-execute form."""

    switch: Switch
    """SWITCH at the first turn and exactly when the sub-goal changes."""
    subgoal: str
    action: str


@dataclass(frozen=True, slots=True)
class _Task:
    """What the task sentence, or one clause of it, asks for, in its own words."""

    item: str
    """A kind of thing, or in a horizon game the name of one; so is the target."""
    target: str
    treat: str
    """clean, heat, cool or empty."""
    lamp: str
    two: bool

    @classmethod
    def read(cls, sentence: str) -> "_Task":
        for pattern in _SENTENCES:
            if match := pattern.fullmatch(sentence):
                found = match.groupdict("")
                treat = _TREAT.get(found.get("treat", ""), "")
                return cls(found["item"], found.get("target", ""), treat, found.get("lamp", ""), "two" in found)
        raise DataError(f"the player does not understand the task {sentence!r}", "it reads ALFWorld's 12 sentences")


def _read_tasks(observation: str) -> list[_Task]:
    """The clauses of the task sentence that a first observation ends with; one, but for a horizon game."""
    sentence = observation.rpartition("Your task is to: ")[2].strip()
    return [_Task.read(f"{clause}.") for clause in sentence.removesuffix(".").split(", then ")]


class SearchPlayer:
    """Plays one episode at a time: `begin` with the first observation, then `act` at every turn."""

    def __init__(self, rng: random.Random, config: PlayerConfig = PlayerConfig()) -> None:
        self._rng = rng
        self._config = config

    def begin(self, observation: str) -> None:
        """Start an episode. Raises `DataError` when the task sentence is not one of ALFWorld's."""
        self._task, *self._later = _read_tasks(observation)
        self._forgets = self._rng.random() < self._config.forget
        self._held = ""
        self._treated: set[str] = set()
        self._chosen = ""  # the receptacle that is to hold both things of a two-object task
        self._subgoal = ""

    def act(self, observation: str, admissible: Sequence[str]) -> Decision:
        """Answer `observation`, at the first turn the one `begin` got. `admissible` must not be empty."""
        self._notice(observation)
        subgoal, action = self._decide(admissible)
        if self._rng.random() < self._config.noise:
            action = self._rng.choice(admissible)
        switch = Switch.KEEP if subgoal == self._subgoal else Switch.SWITCH
        self._subgoal = subgoal
        return Decision(switch, subgoal, action)

    def _notice(self, observation: str) -> None:
        """Follow what the hands did, by the answers alone."""
        if match := _TAKEN.fullmatch(observation):
            self._held = match[1]
        elif match := _MOVED.fullmatch(observation):
            self._held = ""
            if _is(match[1], self._task.item) and _is(match[2], self._task.target):
                self._notice_placed(match[1], match[2])
        elif match := _TREATED.fullmatch(observation):
            if match[1] == self._task.treat:
                self._treated.add(match[2])
            elif match[1] == _UNDONE_BY.get(self._task.treat):
                self._treated.discard(match[2])

    def _notice_placed(self, item: str, receptacle: str) -> None:
        """A wanted thing is where it is wanted: go on with the next clause if there is one."""
        self._chosen = self._chosen or receptacle
        if self._later and (not self._task.treat or item in self._treated):
            self._task = self._later.pop(0)
            self._treated.clear()
            self._chosen = ""

    def _decide(self, admissible: Sequence[str]) -> tuple[str, str]:
        """Sub-goal and action."""
        task = self._task
        if not _is(self._held, task.item):
            takes = [] if self._held else self._useful_takes(admissible)
            if takes:
                return f"take {task.item}", self._rng.choice(takes)
            return f"find {task.item}", self._search(admissible)
        if task.treat and not self._forgets and self._held not in self._treated:
            return f"{task.treat} {task.item}", self._at(_STATION[task.treat], [f"{task.treat} "], admissible)
        if task.lamp:
            lamps = [command for command in admissible if command.startswith(f"use {task.lamp} ")]
            if lamps:
                return f"use {task.lamp}", self._rng.choice(lamps)
            return f"find {task.lamp}", self._walk(admissible)
        where = self._chosen if task.two and self._chosen else task.target
        return f"put {task.item} in {task.target}", self._at(where, ["move ", "open "], admissible)

    def _useful_takes(self, admissible: Sequence[str]) -> list[str]:
        """Commands that take a wanted thing from where it is not wanted."""
        takes = []
        for command in admissible:
            item, _, receptacle = command.removeprefix("take ").partition(" from ")
            if not command.startswith("take ") or not _is(item, self._task.item):
                continue
            if self._task.two and _is(receptacle, self._task.target):
                self._chosen = self._chosen or receptacle  # one is there already: bring the other to it
            if not self._task.two or receptacle != self._chosen:
                takes.append(command)
        return takes

    def _at(self, where: str, verbs: Sequence[str], admissible: Sequence[str]) -> str:
        """The first of `verbs` possible at a receptacle `where` (a kind, or a full name); else the way there."""
        for verb in (*verbs, "go to "):
            commands = [
                command for command in admissible if command.startswith(verb) and _is(_receptacle(command), where)
            ]
            if commands:
                return self._rng.choice(commands)
        return self._search(admissible)

    def _search(self, admissible: Sequence[str]) -> str:
        """Put away what is in the way, open what is closed here, or go somewhere at random."""
        for verb in ("move ", "open ") if self._held and not _is(self._held, self._task.item) else ("open ",):
            if commands := [command for command in admissible if command.startswith(verb)]:
                return self._rng.choice(commands)
        return self._walk(admissible)

    def _walk(self, admissible: Sequence[str]) -> str:
        ways = [command for command in admissible if command.startswith("go to ")]
        return self._rng.choice(ways or admissible)


def _is(name: str, wanted: str) -> bool:
    """Whether `countertop 2` is meant by `countertop`, or by its full name."""
    return wanted in (name, name.rpartition(" ")[0])


def _receptacle(command: str) -> str:
    """The receptacle's name: in every command that has one, its last two words."""
    return " ".join(command.split(" ")[-2:])


@dataclass(frozen=True, slots=True)
class DemoTurn:
    """What was shown, and what was decided on it."""

    observation: str
    admissible: tuple[str, ...]
    decision: Decision


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One played episode."""

    turns: tuple[DemoTurn, ...]
    won: bool


def _all(admissible: tuple[str, ...]) -> tuple[str, ...]:
    return admissible


def demonstrate(
    episode: Episode, player: SearchPlayer, shown: Callable[[tuple[str, ...]], tuple[str, ...]] = _all
) -> Demonstration:
    """Play `episode`, which must have a step limit, to its end. `shown` selects the actions the player gets to see."""
    result = episode.reset()
    player.begin(result.observation)
    turns = []
    while not result.done:
        admissible = shown(result.admissible)
        decision = player.act(result.observation, admissible)
        turns.append(DemoTurn(result.observation, admissible, decision))
        result = episode.step(decision.action)
    return Demonstration(tuple(turns), result.won)
