"""How prompts show a shop's page: its actions in the form in which they are played, its fields without the instruction.

An environment with a search bar (`StepResult.has_search_bar`) lists bare targets; what is played is `click[target]` or
`search[words]` (method.md, 11.5).
"""

import re
from collections.abc import Sequence

__all__ = ["SEARCH_ACTION", "instruction_of", "page_fields", "shop_actions"]

SEARCH_ACTION = "search[<your query>]"
"""Offered where there is a search bar; the player writes words for the placeholder."""

_SEARCH_BUTTON = "search"  # listed beside the search bar; clicking it does nothing
_SEPARATOR = " [SEP] "
_HEADING = f"Instruction:{_SEPARATOR}"
_INSTRUCTION = re.compile(
    r"\AWebShop(?: \[SEP\] |\n)Instruction:(?: \[SEP\] |\s*\n)(.*?)(?: \[SEP\] |\n\[button\])", re.S
)


def instruction_of(start_page: str) -> str | None:
    """The instruction on a start page of either observation mode; None if the text is no start page."""
    found = _INSTRUCTION.match(start_page)
    return found[1].strip() if found else None


def shop_actions(clickables: Sequence[str], *, search_bar: bool) -> tuple[str, ...]:
    """Actions as they are written."""
    clicks = tuple(f"click[{target}]" for target in clickables if target != _SEARCH_BUTTON)
    return (SEARCH_ACTION, *clicks) if search_bar else clicks


def page_fields(observation: str, instruction: str) -> str:
    """The fields of a page below its instruction, each in quotes; a page of another form as it is."""
    _, heading, rest = observation.partition(f"{_HEADING}{instruction}{_SEPARATOR}")
    return _SEPARATOR.join(f"'{field}'" for field in rest.split(_SEPARATOR)) if heading else observation
