"""A person plays an episode at a terminal: what is shown, and what is meant by what is typed."""

from collections.abc import Iterator, Mapping, Sequence

from hiper.cli.output import message
from hiper.plan_execute.shop_page import SEARCH_ACTION, shop_actions

__all__ = ["Person"]

_QUIT = ("quit", "exit")


class Person:
    """Sees one line of `hiper.envs.play.play` at a time; answers in words, or by the number of an action."""

    def __init__(self) -> None:
        self._offered: Sequence[str] = ()

    def show(self, line: Mapping[str, object]) -> None:
        """Print where the person is, and what can be done; at the end, how it ended."""
        listed = line["admissible"]
        actions = [str(action) for action in listed] if isinstance(listed, list) else []
        if "has_search_bar" in line:
            actions = list(shop_actions(actions, search_bar=bool(line["has_search_bar"])))
        self._offered = actions
        message(f"\n{line['observation']}\n")
        if line["terminated"] or line["truncated"]:
            ending = "solved" if line["won"] else "over" if line["terminated"] else "out of steps"
            message(f"{ending} after {line['step']} steps, score {line['score']:g}")
            return
        message("\n".join(f"{number:4}  {action}" for number, action in enumerate(actions, start=1)))

    def actions(self) -> Iterator[str]:
        """What is typed, as actions, until Ctrl-D or `quit`."""
        while True:
            try:
                typed = input("action or number> ").strip()
            except EOFError:
                message("")
                return
            if typed in _QUIT and typed not in self._offered:
                return
            if typed and (action := self._meant(typed)):
                yield action

    def _meant(self, typed: str) -> str:
        """The action typed or numbered; empty if it was only explained."""
        if typed in self._offered or not typed.isdecimal():
            return typed
        if not 1 <= int(typed) <= len(self._offered):
            message(f"there is no action {typed}; type 1 to {len(self._offered)}, an action, or quit")
            return ""
        if self._offered[int(typed) - 1] == SEARCH_ACTION:
            message("type the search itself, e.g. search[red shoes]")
            return ""
        return self._offered[int(typed) - 1]
