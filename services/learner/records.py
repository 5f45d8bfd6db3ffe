"""The learner's lines for people and plots: metrics.jsonl and evals.jsonl, one line per policy version.

After a crash, lines of versions the restored checkpoint does not hold are removed, and the line of its own version,
which it carries, is added if the crash came first: every version has exactly one line.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.durable import JsonValue, write_bytes
from hiper.statistics import success_row
from services.learner.panels import RunPanels
from services.learner.state import EvalRecord

__all__ = ["LineFile", "eval_line", "evaluate"]


class LineFile:
    """A file of JSON lines with a `version` each."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rewind(self, version: int, last: Mapping[str, JsonValue] | None = None) -> None:
        """Remove the lines of versions above `version` and an incomplete last line; add `last` if it is missing."""
        kept = [line for line in self._read() if line["version"] <= version]
        if last and all(line["version"] != last["version"] for line in kept):
            kept.append(dict(last))
        write_bytes(self._path, "".join(map(_encode, kept)).encode())

    def append(self, line: Mapping[str, JsonValue]) -> None:
        """Add one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_encode(line))

    def _read(self) -> list[dict[str, Any]]:
        lines = []
        for text in self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []:
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue  # torn by a crash; its version is computed again
        return lines


def _encode(line: Mapping[str, JsonValue]) -> str:
    """One line of JSON; a number JSON has no word for is null."""
    return json.dumps({key: None if _is_odd(value) else value for key, value in line.items()}) + "\n"


def _is_odd(value: JsonValue) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def evaluate(version: int, panels: RunPanels, trajectories: Sequence[Trajectory]) -> EvalRecord:
    """Return the outcome of the evaluation's panel, of whose episodes `trajectories` were played to an end."""
    played = Counter(trajectory.task_type for trajectory in trajectories)
    won = Counter(trajectory.task_type for trajectory in trajectories if trajectory.outcome.won)
    turns = sum(len(trajectory.turns) for trajectory in trajectories) / max(1, len(trajectories))
    score = sum(trajectory.outcome.score for trajectory in trajectories) / max(1, len(trajectories))
    panel = panels.evaluation
    return EvalRecord(
        version=version,
        split=panels.split,
        won=dict(won),
        played=dict(played),
        mean_turns=turns,
        expected=len(panel.tasks),
        panel=panel.name,
        panel_sha256=panel.sha256,
        mean_score=score,
        ceiling=panel.ceiling,
    )


def eval_line(record: EvalRecord) -> dict[str, JsonValue]:
    """Return an evaluation as a line: success with its 95 % Wilson interval, overall and by task type."""
    kinds = sorted(record.played)
    return {
        "version": record.version,
        "split": record.split,
        "panel": record.panel,
        "panel_sha256": record.panel_sha256,
        "expected": record.expected,
        "mean_turns": record.mean_turns,
        "mean_score": record.mean_score,
        "ceiling": record.ceiling,
        **success_row(sum(record.won.values()), sum(record.played.values())),
        "by_task_type": {kind: success_row(record.won.get(kind, 0), record.played[kind]) for kind in kinds},
    }
