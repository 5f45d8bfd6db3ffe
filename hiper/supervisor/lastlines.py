"""The end of a process's log: what it said last, and the line that tells why it ended."""

import json
from pathlib import Path

from hiper.supervisor.text import printable

__all__ = ["last_error", "last_lines"]

_TAIL_BYTES = 64 * 1024
_TAIL_LINES = 200
_LONGEST = 300
_LONGEST_ERROR = 1000
_GROUP_FRAME = " |+-"
"""What the traceback of an exception group is drawn with, its last line wholly."""


def last_lines(log: Path, count: int, *, since: int = 0) -> list[str]:
    """Return up to `count` last non-empty lines written after byte `since`, cut, safe for a terminal."""
    return [line[:_LONGEST] for line in _tail(log, since)[-count:]]


def last_error(log: Path, *, since: int = 0) -> str:
    """Return the last line that reports an error, else the last line, else an empty text; safe for a terminal."""
    lines = _tail(log, since)
    for line in reversed(lines):  # whole lines: half a line of JSON says nothing
        message = _error_of(line)
        if message:
            return message[:_LONGEST_ERROR]
    return lines[-1][:_LONGEST] if lines else ""


def _tail(log: Path, since: int) -> list[str]:
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            start = max(since, size - _TAIL_BYTES, 0)
            file.seek(start)
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [printable(line) for line in text.splitlines() if line.strip()][-_TAIL_LINES:]


def _error_of(line: str) -> str:
    if line.startswith("{"):
        try:
            event = json.loads(line)
        except ValueError:
            return ""
        if event.get("level") not in ("error", "critical"):
            return ""
        if "exception" in event:
            said = [one.strip(_GROUP_FRAME) for one in str(event["exception"]).splitlines()]
            return next((one for one in reversed(said) if one), "")
        return str(event.get("error") or event.get("event", ""))
    first_word = line.split(":", 1)[0]
    is_exception = first_word.endswith(("Error", "Exception")) and " " not in first_word
    return line if is_exception or line.lower().startswith(("error:", "fatal")) else ""
