"""What an episode carries from turn to turn: the sub-goal in force and the recent history."""

from collections import deque
from dataclasses import dataclass
from typing import Literal

from hiper.plan_execute.parse import ParsedResponse
from hiper.vocabulary import Switch

__all__ = ["EpisodeState", "TurnDecision"]


@dataclass(frozen=True, slots=True)
class TurnDecision:
    """What a response means in its episode."""

    subgoal: str
    """The sub-goal in force during the turn; empty if there is none."""
    consistent: bool
    """On a KEEP turn with a sub-goal to keep: the one written equals it. Else True."""


class EpisodeState:
    """The sub-goal in force and the last observation/action pairs of one episode.

    `enforce`: KEEP keeps the sub-goal in force whatever was written (method.md, section 17, defect 4). `trust`: what
    was written counts, as in the reference. Before the first turn, and after a response that lacks the sub-goal it
    owes, none is in force: there is nothing to keep, and a KEEP then is not inconsistent, whatever it writes.
    """

    def __init__(self, *, keep: Literal["enforce", "trust"], history_turns: int) -> None:
        self.subgoal: str | None = None
        """The sub-goal in force; None = there is none."""
        self._enforce = keep == "enforce"
        self._history: deque[tuple[str, str]] = deque(maxlen=history_turns)

    @property
    def history(self) -> tuple[tuple[str, str], ...]:
        """Pairs of observation and the action chosen on it, oldest first."""
        return tuple(self._history)

    def decide(self, response: ParsedResponse) -> TurnDecision:
        """Apply a response: update the sub-goal in force and say what holds in this turn."""
        before = self.subgoal
        keeps = response.switch is Switch.KEEP and before is not None
        consistent = not keeps or response.subgoal == before
        self.subgoal = before if keeps and self._enforce else response.subgoal or None
        return TurnDecision(self.subgoal or "", consistent)

    def remember(self, observation: str, action: str) -> None:
        """Add a played turn to the history."""
        self._history.append((observation, action))
