"""The learner's lines for people and plots: metrics.jsonl and evals.jsonl, one line per policy version.

A line is written before its checkpoint. After a crash, lines of versions the restored checkpoint does not hold are
removed, so every version has exactly one line.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hiper.durable import JsonValue, write_bytes
from hiper.statistics import wilson_interval
from services.learner.state import EvalRecord

__all__ = ["LineFile", "eval_line"]


class LineFile:
    """A file of JSON lines with a `version` each."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rewind(self, version: int) -> None:
        """Remove the lines of versions above `version` and an incomplete last line."""
        kept = [line for line in self._read() if line["version"] <= version]
        write_bytes(self._path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def append(self, line: Mapping[str, JsonValue]) -> None:
        """Add one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _read(self) -> list[dict[str, Any]]:
        lines = []
        for text in self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []:
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue  # torn by a crash; its version is computed again
        return lines


def eval_line(record: EvalRecord) -> dict[str, JsonValue]:
    """Return an evaluation as a line: success with its 95 % Wilson interval, overall and by task type."""
    kinds = sorted(record.played)
    return {
        "version": record.version,
        "split": record.split,
        "expected": record.expected,
        "mean_turns": record.mean_turns,
        **_success(sum(record.won.values()), sum(record.played.values())),
        "by_task_type": {kind: _success(record.won.get(kind, 0), record.played[kind]) for kind in kinds},
    }


def _success(won: int, played: int) -> dict[str, JsonValue]:
    low, high = wilson_interval(won, played)
    return {"won": won, "played": played, "success": won / played if played else 0.0, "low": low, "high": high}
