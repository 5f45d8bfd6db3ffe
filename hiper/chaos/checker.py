"""Did the promise hold? Compares a troubled run with the same run left in peace (docs/guarantees.md).

Counts come from the broker by way of `report.json`; the per-version lines and the parameters come from the learner's
own files. The two do not know of each other, so a fault in the counting does not hide one in the delivery.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hiper.report.files import RunFiles

__all__ = ["RunOutcome", "faults_of", "outcome_of"]

_TENSORS = ("actor.safetensors", "critic.safetensors", "actor_optimiser.safetensors", "critic_optimiser.safetensors")


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What one run came to."""

    complete: bool
    error: str
    published: int
    applied: int
    dropped: int
    dead_lettered: int
    gap: int | None
    versions: tuple[int, ...]
    """Versions in the order of their lines in metrics.jsonl."""
    learned_from: int
    """Trajectories of all training batches, as the learner counted them."""
    parameters: tuple[str, ...]
    """sha256 of the newest checkpoint's tensors, optimisers included; empty if there is none."""
    restarts: dict[str, int] = field(default_factory=dict)


def outcome_of(run_dir: Path) -> RunOutcome:
    """Read the outcome of the run in `run_dir`."""
    files = RunFiles(run_dir)
    report, metrics = files.tree("report.json"), files.metrics()
    counts = report.get("trajectories", {})
    return RunOutcome(
        complete=bool(report.get("complete")),
        error=str(report.get("error", "no report")),
        published=counts.get("published", 0),
        applied=counts.get("applied", 0),
        dropped=sum(counts.get("dropped", {}).values()),
        dead_lettered=counts.get("dead_lettered", 0),
        gap=report.get("conservation_gap"),
        versions=tuple(int(line["version"]) for line in metrics),
        learned_from=sum(int(line.get("trajectories", 0)) for line in metrics),
        parameters=_parameters(run_dir / "checkpoints"),
        restarts=dict(report.get("restarts", {})),
    )


def faults_of(troubled: RunOutcome, peaceful: RunOutcome) -> list[str]:
    """Say in words what broke the promise; empty = nothing."""
    faults = []
    if not troubled.complete:
        faults.append(f"the run did not complete: {troubled.error}")
    if troubled.gap != 0:
        faults.append(f"conservation gap {troubled.gap}")
    faults += _difference("published", troubled.published, peaceful.published)
    faults += _difference("applied", troubled.applied, peaceful.applied)
    faults += _difference("learned from", troubled.learned_from, peaceful.learned_from)
    if troubled.dropped or troubled.dead_lettered:
        faults.append(f"{troubled.dropped} trajectories dropped, {troubled.dead_lettered} dead-lettered")
    if troubled.versions != peaceful.versions:
        faults.append(f"versions {_brief(troubled.versions)} instead of {_brief(peaceful.versions)}")
    if troubled.parameters != peaceful.parameters:
        faults.append("the learned parameters differ from those of the run left in peace")
    return faults


def _difference(what: str, troubled: int, peaceful: int) -> list[str]:
    if troubled == peaceful:
        return []
    return [f"{abs(troubled - peaceful)} trajectories {'too many' if troubled > peaceful else 'too few'} {what}"]


def _brief(versions: Sequence[int]) -> str:
    return f"{versions[0]}..{versions[-1]} in {len(versions)} lines" if versions else "none"


def _parameters(checkpoints: Path) -> tuple[str, ...]:
    """Sums of the newest checkpoint, from its manifest: the learner verified them when it wrote it."""
    newest = max(checkpoints.glob("g*/v*/manifest.json"), default=None, key=lambda path: path.parts[-3:-1])
    if newest is None:
        return ()
    files = {entry["name"]: entry["sha256"] for entry in json.loads(newest.read_text())["files"]}
    return tuple(files[name] for name in _TENSORS if name in files)
