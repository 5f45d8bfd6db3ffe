"""Demonstrations: a scripted player's episodes written as plan-execute turns, through the prompt the rollout will show.

Two things keep the model from learning a path it then falls off. The player searches with what it has seen, because a
model with one turn of history can imitate that and not a walkthrough that knows where things are. And now and then
something else is played than what is demonstrated (`stumble`), so that the model sees, and is shown the way out of,
states the player itself would never reach.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hiper.envs.alfworld.player import Decision, PlayerConfig, SearchPlayer
from hiper.envs.base import Episode, StepResult, TaskSource
from hiper.plan_execute import EpisodeState, PromptBuilder, PromptInput, parse_response, render_response, task_of
from hiper.vocabulary import Switch

__all__ = ["DemonstratedTurn", "DemonstrationSettings", "demonstrate_tasks"]


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


class _Seen:
    """Distinct texts in the order they were first seen."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._known: set[str] = set()

    def add(self, text: str) -> None:
        if text not in self._known:
            self._known.add(text)
            self.texts.append(text)


class _Stumbler:
    """Plays something else now and then: an action seen before, offered now or not, or another sub-goal."""

    def __init__(self, rng: random.Random, share: float) -> None:
        self._rng = rng
        self._share = share
        self._actions: dict[str, _Seen] = {}
        """Actions seen, by first word: a verb is chosen first, so that rare verbs are tried as often."""
        self._subgoals = _Seen()

    def see(self, decision: Decision, shown: Sequence[str]) -> None:
        for action in shown:
            self._actions.setdefault(action.split(" ", 1)[0], _Seen()).add(action)
        self._subgoals.add(decision.subgoal)

    def instead_of(self, decision: Decision, shown: Sequence[str]) -> tuple[str, str] | None:
        """Return another (sub-goal, action) to play, or None to follow the player."""
        if self._rng.random() >= self._share:
            return None
        action, subgoal, kind = decision.action, decision.subgoal, self._rng.random()
        if kind < 0.6:
            action = self._rng.choice(self._actions[self._rng.choice(list(self._actions))].texts)
        elif kind < 0.8:
            action = self._rng.choice(list(shown))
        if kind > 0.7:
            subgoal = self._rng.choice(self._subgoals.texts)
        return subgoal, action


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
