"""The files of a run directory that a report is made from. A file that is missing or torn reads as empty."""

import json
from pathlib import Path
from typing import Any

__all__ = ["FINISHED_NAME", "PIPELINE_NAME", "RunFiles"]

PIPELINE_NAME = "pipeline.json"
"""The last measurement of the pipeline, written by the supervisor when everything but the broker has ended."""

FINISHED_NAME = "finished.json"
"""The learner's mark of a run that is at its end: the last version, and whether a person stopped it there."""

Tree = dict[str, Any]


class RunFiles:
    """Reads a run directory."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def metrics(self) -> list[Tree]:
        """Lines of metrics.jsonl, one per policy version."""
        return self._lines("metrics.jsonl")

    def evaluations(self) -> list[Tree]:
        """Lines of evals.jsonl, one per evaluation."""
        return self._lines("evals.jsonl")

    @property
    def stopped(self) -> bool:
        """Whether a person ended the run before its last iteration."""
        return bool(self.tree(FINISHED_NAME).get("stopped"))

    def done(self, iterations: int) -> bool:
        """Whether a run of `iterations` is at its end: all of them are applied, or a person ended it before."""
        return self.stopped or int(self.tree(FINISHED_NAME).get("policy_version", -1)) >= iterations

    def tree(self, name: str) -> Tree:
        """A JSON object, empty if there is none."""
        try:
            value = json.loads((self.run_dir / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def _lines(self, name: str) -> list[Tree]:
        path = self.run_dir / name
        lines = []
        for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                lines.append(json.loads(text))
            except ValueError:
                break  # the last line is being written
        return lines
