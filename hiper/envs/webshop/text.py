"""How a page becomes text: the original's two observation modes, with what its HTML parser does to blanks (2.5)."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

__all__ = ["Observation", "Part", "Role", "join_plain", "join_rich", "options_json", "visible"]

_SEPARATOR = " [SEP] "
_ASCII_BLANKS = " \n\t\f\r"
_HTML_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "'": "\\u0027"})


class Observation(StrEnum):
    """Observation modes."""

    TEXT = "text"
    """Parts joined by ` [SEP] `."""
    TEXT_RICH = "text_rich"
    """One part a line; buttons, and what has been clicked, are marked."""


class Role(Enum):
    """What a part of a page is, which decides how `text_rich` marks it."""

    TEXT = 0
    BUTTON = 1
    ASIN = 2
    VALUE = 3
    """An option's value."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of text on a page."""

    text: str
    role: Role = Role.TEXT


def visible(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts an HTML parser finds: no empty ones, no blank ones with a line break; other blanks shrink to one."""
    return tuple(
        part if part.text.strip(_ASCII_BLANKS) else Part(" ", part.role)
        for part in parts
        if part.text.strip(_ASCII_BLANKS) or (part.text and "\n" not in part.text)
    )


def join_plain(parts: Iterable[Part]) -> str:
    """Mode `text`."""
    return _SEPARATOR.join(part.text.strip() for part in parts)


def join_rich(parts: Iterable[Part], url: str, visited: Collection[str]) -> str:
    """Mode `text_rich`. An option value counts as chosen where the page's url has it between double quotes."""
    chosen, lines = "", []
    for part in parts:
        text = part.text
        match part.role:
            case Role.TEXT:
                lines.append(f"{text}\n")
            case Role.BUTTON:
                lines.append(f"[button] {text} [button_]\n")
            case Role.ASIN:
                lines.append(
                    f"\n[clicked button] {text} [clicked button_]\n"
                    if text in visited
                    else f"\n[button] {text} [button_]\n"
                )
            case Role.VALUE if f'"{text}"' in url:
                chosen = f"You have clicked {text}.\n{chosen}"
                lines.append(f"  [clicked button] {text} [clicked button_]\n")
            case Role.VALUE:
                lines.append(f"  [button] {text} [button_]\n")
    return chosen + "".join(lines)


def options_json(options: Mapping[str, str]) -> str:
    """The chosen options as the done page shows them."""
    return json.dumps(options, sort_keys=True).translate(_HTML_ESCAPES)
