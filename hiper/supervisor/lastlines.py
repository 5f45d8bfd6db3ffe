"""The end of a process's log: what it said last, and the line that tells why it ended."""

import json
from pathlib import Path

from hiper.supervisor.text import printable

__all__ = ["last_error", "last_lines"]

_TAIL_BYTES = 64 * 1024
_LONGEST = 300


def last_lines(log: Path, count: int, *, since: int = 0) -> list[str]:
    """Return up to `count` last non-empty lines written after byte `since`, safe for a terminal."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            start = max(since, size - _TAIL_BYTES, 0)
            file.seek(start)
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [printable(line)[:_LONGEST] for line in text.splitlines() if line.strip()][-count:]


def last_error(log: Path, *, since: int = 0) -> str:
    """Return the last line that reports an error, else the last line, else an empty text."""
    lines = last_lines_raw = last_lines(log, 200, since=since)
    for line in reversed(last_lines_raw):
        message = _error_of(line)
        if message:
            return message
    return lines[-1] if lines else ""


def _error_of(line: str) -> str:
    if line.startswith("{"):
        try:
            event = json.loads(line)
        except ValueError:
            return ""
        if event.get("level") not in ("error", "critical"):
            return ""
        if "exception" in event:
            return str(event["exception"]).strip().splitlines()[-1]
        return str(event.get("error") or event.get("event", ""))
    first_word = line.split(":", 1)[0]
    is_exception = first_word.endswith(("Error", "Exception")) and " " not in first_word
    return line if is_exception or line.lower().startswith(("error:", "fatal")) else ""
