"""Demonstrations: a scripted player's episodes written as plan-execute turns, through the prompt the rollout will show.

Two things keep the model from learning a path it then falls off. The player searches with what it has seen, because a
model with one turn of history can imitate that and not a walkthrough that knows where things are. And now and then
something else is played than what is demonstrated (`stumble`), so that the model sees, and is shown the way out of,
states the player itself would never reach.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hiper.envs.alfworld.player import Decision, PlayerConfig, SearchPlayer
from hiper.envs.base import Episode, StepResult, TaskSource
from hiper.plan_execute import EpisodeState, PromptBuilder, PromptInput, parse_response, render_response, task_of
from hiper.vocabulary import Switch

__all__ = ["DemonstratedTurn", "DemonstrationSettings", "demonstrate_tasks"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DemonstratedTurn:
    """What was shown and what should be answered, as texts."""

    prompt: str
    response: str


@dataclass(frozen=True, slots=True)
class DemonstrationSettings:
    """How demonstrations are made."""

    player: PlayerConfig
    stumble: float
    """Share of turns at which something else is played than what is demonstrated; those turns are not learned from."""
    max_steps: int
    hidden_actions: frozenset[str]
    """First words of actions the prompt does not list: the player does not see them either."""


def demonstrate_tasks(
    source: TaskSource,
    tasks: Sequence[str],
    builder: PromptBuilder,
    settings: DemonstrationSettings,
    rng: random.Random,
) -> Iterator[list[DemonstratedTurn]]:
    """Yield the turns of one episode for each of `tasks`."""
    stumbler = _Stumbler(rng, settings.stumble)
    player = SearchPlayer(rng, settings.player)
    for task in tasks:
        episode = source.open(task, seed=0, max_steps=settings.max_steps)
        yield _Play(episode, player, builder, settings, stumbler).turns()


class _Seen(Generic[T]):
    """Distinct things in the order they were first seen."""

    def __init__(self) -> None:
        self.all: list[T] = []
        self._known: set[T] = set()

    def add(self, thing: T) -> None:
        if thing not in self._known:
            self._known.add(thing)
            self.all.append(thing)


class _Stumbler:
    """Plays something else now and then, of the kinds of mistakes a half-trained model makes.

    Half of the time it takes a whole decision about the same thing from another situation: `take apple`, although none
    is here. Else it takes an action seen anywhere, or one that is offered, or another sub-goal.
    """

    def __init__(self, rng: random.Random, share: float) -> None:
        self._rng = rng
        self._share = share
        self._decisions: dict[str, _Seen[tuple[str, str]]] = {}
        """(sub-goal, action) by the thing the sub-goal is about."""
        self._actions: dict[str, _Seen[str]] = {}
        """By first word: a verb is chosen first, so that rare verbs are tried as often."""
        self._subgoals = _Seen[str]()

    def see(self, decision: Decision, shown: Sequence[str]) -> None:
        for action in shown:
            self._actions.setdefault(_verb(action), _Seen()).add(action)
        self._decisions.setdefault(_thing(decision.subgoal), _Seen()).add((decision.subgoal, decision.action))
        self._subgoals.add(decision.subgoal)

    def instead_of(self, decision: Decision, shown: Sequence[str]) -> tuple[str, str] | None:
        """Return another (sub-goal, action) to play, or None to follow the player."""
        choose = self._rng.choice
        if self._rng.random() >= self._share:
            return None
        if self._rng.random() < 0.5:
            return choose(self._decisions[_thing(decision.subgoal)].all)
        kind = self._rng.random()
        if kind < 0.5:
            return decision.subgoal, choose(self._actions[choose(list(self._actions))].all)
        if kind < 0.75:
            return decision.subgoal, choose(shown)
        return choose(self._subgoals.all), decision.action


def _verb(action: str) -> str:
    return action.partition(" ")[0]


def _thing(subgoal: str) -> str:
    """`put apple in fridge` -> `apple`."""
    return subgoal.split(" ")[1]


class _Play:
    """One demonstrated episode."""

    def __init__(
        self,
        episode: Episode,
        player: SearchPlayer,
        builder: PromptBuilder,
        settings: DemonstrationSettings,
        stumbler: _Stumbler,
    ) -> None:
        self._episode = episode
        self._player = player
        self._builder = builder
        self._hidden = settings.hidden_actions
        self._stumbler = stumbler
        self._state = EpisodeState(keep="enforce", history_turns=builder.history_turns)

    def turns(self) -> list[DemonstratedTurn]:
        shown = self._episode.reset()
        goal = task_of(shown.observation)
        self._player.begin(shown.observation)
        learned: list[DemonstratedTurn] = []
        while not shown.done:
            offered = tuple(action for action in shown.admissible if action.split(" ", 1)[0] not in self._hidden)
            decision = self._player.act(shown.observation, offered)
            self._stumbler.see(decision, offered)
            instead = self._stumbler.instead_of(decision, offered)
            if instead is None:
                response = self._render(decision.subgoal, decision.action)
                learned.append(DemonstratedTurn(self._prompt(goal, shown, len(learned)), response))
            else:
                response = self._render(*instead)
            shown = self._apply(shown, response)
        return learned

    def _render(self, subgoal: str, action: str) -> str:
        switch = Switch.KEEP if subgoal == self._state.subgoal else Switch.SWITCH
        return render_response(switch, subgoal, action)

    def _prompt(self, goal: str, shown: StepResult, step: int) -> str:
        return self._builder.build(
            PromptInput(goal, shown.observation, shown.admissible, self._state.subgoal, self._state.history, step)
        )

    def _apply(self, shown: StepResult, response: str) -> StepResult:
        read = parse_response([response])
        self._state.decide(read)
        after = self._episode.step(read.action)
        self._state.remember(shown.observation, read.action)
        return after
