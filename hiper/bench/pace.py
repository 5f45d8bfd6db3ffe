"""Policy updates an hour of a run, and what its cores did meanwhile: what `hiper bench loop` makes of the lines of
metrics.jsonl and of samples of CPU time.

A run's first updates warm it up; what counts is the time from the last of those to the last update of all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hiper.bench.timing import Figure, Target
from hiper.errors import RunStateError

__all__ = ["ASYNCHRONOUS", "SYNCHRONOUS", "CpuTimes", "Pace", "busy_machine", "figures", "pace_of", "used_between"]

SYNCHRONOUS, ASYNCHRONOUS = "synchronous", "asynchronous"
_AGAINST_SYNCHRONOUS = Target(1.5)
_QUIET = 0.1
"""Share of the cores that other programs may take before the figures say more about them than about us."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What the counted part of one run came to. Seconds are those of one update, on average."""

    seconds: float
    """From one update to the next."""
    waited: float
    """Of those, how long the learner had nothing to do."""
    learner_cpu: float
    """CPU time of the learner."""
    others_cpu: float
    """CPU time of everything else of the run."""
    foreign_cpu: float
    """CPU time of other programs, on the two cores."""
    staleness: float
    """Versions that the oldest turn of a trajectory is behind the policy that learns from it, on average."""
    turns: float
    """Turns of an update's batch."""
    tokens: float
    """Tokens of an update's batch, prompts included."""

    @property
    def foreign_share(self) -> float:
        """Share of the two cores that other programs took."""
        return self.foreign_cpu / self.seconds / 2


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """CPU seconds used until some moment."""

    moment: float
    """Unix seconds."""
    learner: float
    others: float
    """Of everything else of the run."""
    cores: float
    """Of whoever used the two cores."""


def used_between(samples: Sequence[CpuTimes], start: float, end: float) -> CpuTimes:
    """Return what was used from `start` to `end`, between samples in proportion."""
    moments = [sample.moment for sample in samples]

    def used(values: Iterable[float]) -> float:
        before, after = np.interp((start, end), moments, list(values))
        return float(after - before)

    return CpuTimes(
        end,
        learner=used(sample.learner for sample in samples),
        others=used(sample.others for sample in samples),
        cores=used(sample.cores for sample in samples),
    )


def pace_of(lines: Sequence[Mapping[str, Any]], samples: Sequence[CpuTimes], warm_up: int) -> Pace:
    """Make a pace of the lines of metrics.jsonl, without the first `warm_up` updates.

    Raises `RunStateError` where no update is left.
    """
    counted = lines[warm_up:]
    if not counted:
        raise RunStateError(f"{len(lines)} updates, of which {warm_up} warm up: none is left to measure")
    start, end = lines[warm_up - 1]["time"], lines[-1]["time"]
    used = used_between(samples, start, end)

    def mean(key: str) -> float:
        return sum(float(line[key]) for line in counted) / len(counted)

    return Pace(
        seconds=(end - start) / len(counted),
        waited=mean("seconds_wait"),
        learner_cpu=used.learner / len(counted),
        others_cpu=used.others / len(counted),
        foreign_cpu=max(0.0, used.cores - used.learner - used.others) / len(counted),
        staleness=mean("staleness"),
        turns=mean("turns"),
        tokens=mean("tokens"),
    )


def figures(paces: Mapping[str, Sequence[Pace]]) -> list[Figure]:
    """What the runs of both kinds, one a repeat each, come to."""
    before, after = paces[SYNCHRONOUS], paces[ASYNCHRONOUS]
    gained = [one.seconds / other.seconds for one, other in zip(before, after, strict=True)]
    most = [one.seconds / max(one.learner_cpu, one.others_cpu) for one in before]
    shown = [
        Figure(name, "updates/h", [3600 / pace.seconds for pace in done], "repeats") for name, done in paces.items()
    ]
    shown += [
        Figure("asynchronous against synchronous", "x", gained, "repeats", _AGAINST_SYNCHRONOUS),
        Figure("to be expected of two cores", "x", most, "repeats"),
    ]
    for name, done in paces.items():
        shares = {
            "learner waits": [pace.waited / pace.seconds for pace in done],
            "learner's core idle": [1 - pace.learner_cpu / pace.seconds for pace in done],
            "rollout's core idle": [1 - pace.others_cpu / pace.seconds for pace in done],
            "cores taken by other programs": [pace.foreign_share for pace in done],
        }
        shown += [
            Figure(f"{name}: {what}", "%", [100 * share for share in values], "repeats")
            for what, values in shares.items()
        ]
        shown.append(Figure(f"{name}: staleness", "versions", [pace.staleness for pace in done], "repeats"))
    return shown


def busy_machine(paces: Mapping[str, Sequence[Pace]]) -> list[str]:
    """Say so if other programs took much of the cores; empty if not."""
    worst = max(pace.foreign_share for done in paces.values() for pace in done)
    if worst <= _QUIET:
        return []
    return [f"other programs took up to {worst:.0%} of the two cores; measure again when the machine is quiet"]
