"""Data on stdout, messages on stderr."""

import json
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

__all__ = ["Format", "FormatOption", "emit", "message"]


class Format(StrEnum):
    """How data is printed."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--output", "-o", help="How data is printed.")]


def emit(value: Any, form: Format, lines: list[str]) -> None:
    """Print `value` as JSON, or `lines` for people."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str) if form is Format.JSON else "\n".join(lines)
    sys.stdout.write(text + "\n")


def message(text: str) -> None:
    """Say something that is not data."""
    sys.stderr.write(text + "\n")
