"""Prompts, rebuilt from nothing every turn (method.md, section 11.5).

Two styles: `chat` is prose for instruct models, sent as one user message under the model's chat template; `compact`
is a few words between markers, for tiny models with a word-level vocabulary. Neither ever shows earlier sub-goals or
switches.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from hiper.config.sections import ChatPrompt, CompactPrompt, PromptSettings
from hiper.plan_execute.shop_page import SEARCH_ACTION, instruction_of, page_fields, shop_actions
from hiper.vocabulary import EnvName

__all__ = ["ChatPromptBuilder", "CompactPromptBuilder", "PromptBuilder", "PromptInput", "make_builder", "task_of"]

_TASK_MARKER = re.compile(r"your task is to:\s*", re.IGNORECASE)


def task_of(first_observation: str) -> str:
    """Return the task sentence of an episode's first observation, or the whole text if it has no marker."""
    instruction = instruction_of(first_observation)
    if instruction is not None:
        return instruction
    parts = _TASK_MARKER.split(first_observation, maxsplit=1)
    return parts[-1].strip()


@dataclass(frozen=True, slots=True)
class PromptInput:
    """What one prompt shows."""

    task: str
    observation: str
    admissible: Sequence[str]
    subgoal: str | None
    """The sub-goal in force; None on the first turn."""
    history: tuple[tuple[str, str], ...] = ()
    """The last pairs of observation and action, oldest first."""
    step: int = 0
    """Turns played so far."""
    search_bar: bool | None = None
    """In a shop, where `admissible` are the clickables: whether there is a search bar. None elsewhere."""

    @property
    def actions(self) -> Sequence[str]:
        """What can be played, in the form in which it is played."""
        if self.search_bar is None:
            return self.admissible
        return shop_actions(self.admissible, search_bar=self.search_bar)

    def without_oldest(self) -> "PromptInput":
        """Return the same input with the oldest history pair left out."""
        return replace(self, history=self.history[1:])


class PromptBuilder(Protocol):
    """Writes the prompt of one turn."""

    is_chat: bool
    """True if the text is a user message for the chat template; False if it is the whole prompt."""
    history_turns: int
    """Observation/action pairs it can show."""

    def build(self, shown: PromptInput) -> str:
        """Return the prompt's text."""
        ...


class CompactPromptBuilder:
    """`|task ... |hist obs ; act |obs ... |acts ... |goal ...`."""

    is_chat = False

    def __init__(self, settings: CompactPrompt) -> None:
        self.history_turns = settings.history_turns
        self._hidden = frozenset(settings.hidden_actions)

    def build(self, shown: PromptInput) -> str:
        """Return the prompt's text."""
        history = "".join(f" |hist {_flat(_seen(shown, seen))} |act {done}" for seen, done in shown.history)
        actions = " ".join(action for action in shown.actions if action.split(" ", 1)[0] not in self._hidden)
        observation = _flat(_without_task(_seen(shown, shown.observation)))
        return f"|task {shown.task}{history} |obs {observation} |acts {actions} |goal {shown.subgoal or 'none'} |turn"


class ChatPromptBuilder:
    """Prose: role, task, what a sub-goal is, history, observation, sub-goal, actions, contract (method.md 11.5)."""

    is_chat = True

    def __init__(self, settings: ChatPrompt, env: str) -> None:
        self.history_turns = settings.history_turns
        self._role = settings.role or _ROLES.get(env, _ANY_ROLE)

    def build(self, shown: PromptInput) -> str:
        """Return the user message."""
        parts = [self._role]
        if shown.step > 0 or shown.search_bar is not None:  # the page is shown without its instruction
            parts.append(f"Your overall task is: {shown.task}")
        parts.append(_ABOUT_SUBGOALS)
        if shown.history:
            parts.append(_history(shown))
        parts.append(f"Your current observation is:\n{_seen(shown, shown.observation)}")
        parts.append(f"Your current sub-goal is: {shown.subgoal or 'None'}")
        actions = "\n".join(f"'{action}'" for action in shown.actions if action != "help")
        parts.append(f"The actions you can take now are:\n{actions}")
        parts.append(f"{_CONTRACT}\n{_ABOUT_SEARCH}" if shown.search_bar else _CONTRACT)
        return "\n\n".join(parts)


def make_builder(settings: PromptSettings, env: str) -> PromptBuilder:
    """Return the builder of the configured style."""
    if isinstance(settings, CompactPrompt):
        return CompactPromptBuilder(settings)
    return ChatPromptBuilder(settings, env)


_ANY_ROLE = "You are an expert agent acting in an environment described in text."
_ROLES: dict[str, str] = {
    EnvName.ALFWORLD: "You are an expert agent acting in a household described in text (ALFRED).",
    EnvName.WEBSHOP: "You are an expert agent shopping on a web site described in text (WebShop).",
}
_ABOUT_SUBGOALS = (
    "You work towards the task through short-term sub-goals. A sub-goal takes a few actions: it is smaller than the "
    "whole task and larger than one action. At every step you first reconsider it: keep it while it is unfinished and "
    "still useful, switch to a new one once it is reached or no longer helps."
)
_CONTRACT = """Answer with exactly these three blocks, in this order, and nothing else:
<switch>KEEP or SWITCH</switch>
<subgoal>your sub-goal</subgoal>
<action>one of the actions above, word for word</action>
If you KEEP, repeat the current sub-goal word for word.
If you SWITCH, or there is no current sub-goal, write a new one."""
_ABOUT_SEARCH = f"In {SEARCH_ACTION} write your own words for <your query>."


def _history(shown: PromptInput) -> str:
    first = shown.step - len(shown.history) + 1
    lines = [f"You have taken {shown.step} steps. The most recent observations and your actions on them were:"]
    for number, (seen, done) in enumerate(shown.history, start=first):
        lines.append(f"[observation {number}: '{_seen(shown, seen)}', action {number}: '{done}']")
    return "\n".join(lines)


def _seen(shown: PromptInput, observation: str) -> str:
    """An observation as it is shown."""
    return observation if shown.search_bar is None else page_fields(observation, shown.task)


def _without_task(observation: str) -> str:
    """Leave the task sentence out of a first observation: the prompt shows it already."""
    return _TASK_MARKER.split(observation, maxsplit=1)[0]


def _flat(text: str) -> str:
    return " ".join(text.split())
