"""What a look at data found, in a form for people and for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hiper.durable import JsonValue

__all__ = ["Finding", "Inspection"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one file."""

    file: str
    problem: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """The data of one environment, looked at as a whole."""

    env: str
    path: str
    facts: Mapping[str, JsonValue]
    """Counts and versions, by name."""
    summary: Sequence[str]
    """The facts in lines, for people."""
    problems: Sequence[Finding] = field(default_factory=tuple)
    """Files that cannot be used, or are not what was published."""
    notes: Sequence[Finding] = field(default_factory=tuple)
    """Files that can be used, of which nothing was published that they could be compared with."""

    def document(self) -> dict[str, JsonValue]:
        """The whole as JSON."""
        return {
            "env": self.env,
            "path": self.path,
            "ok": not self.problems,
            **self.facts,
            "problems": [{"file": one.file, "problem": one.problem} for one in self.problems],
            "notes": [{"file": one.file, "problem": one.problem} for one in self.notes],
        }
