"""What `hiper chaos` found, over all rounds."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hiper.chaos.checker import RunOutcome, faults_of
from hiper.chaos.nemesis import History

__all__ = ["ChaosReport", "Round", "summarise"]

CPU_SERVICES = ("env_server", "reward", "hae", "broker")
"""Those that must be back within seconds; a rollout or a learner loads a model first."""


@dataclass(slots=True)
class Round:
    """One run under the nemesis."""

    outcome: RunOutcome
    history: History
    faults: list[str]
    """What broke the promise, in words."""

    def judge(self, peaceful: RunOutcome) -> None:
        """Add the faults that a comparison with the run left in peace shows."""
        self.faults += faults_of(self.outcome, peaceful)


@dataclass(frozen=True, slots=True)
class ChaosReport:
    """What came of it; `faults` is empty if the promise held."""

    seed: int
    kills: dict[str, int]
    other_deeds: int
    rounds: int
    published: int
    lost: int
    duplicated: int
    conservation_gap: int
    parameters_identical: bool
    recovery_s: dict[str, dict[str, float]]
    """By process: number, p50, p95 and max of the seconds from a kill to readiness."""
    recovery_p95_cpu_s: float
    """p95 over all processes that load no model."""
    seconds: float
    faults: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)


def summarise(seed: int, peaceful: RunOutcome, rounds: Sequence[Round], seconds: float) -> ChaosReport:
    """Put the rounds together."""
    recoveries: dict[str, list[float]] = {}
    kills: dict[str, int] = {}
    for one in rounds:
        for name, number in one.history.kills.items():
            kills[name] = kills.get(name, 0) + number
        for name, times in one.history.recoveries_s.items():
            recoveries.setdefault(name, []).extend(times)
    light = [time for name, times in recoveries.items() if name.partition("-")[0] in CPU_SERVICES for time in times]
    outcomes = [one.outcome for one in rounds]
    return ChaosReport(
        seed=seed,
        kills=kills,
        other_deeds=sum(len(one.history.done) for one in rounds) - sum(kills.values()),
        rounds=len(rounds),
        published=sum(outcome.published for outcome in outcomes),
        lost=sum(max(0, peaceful.learned_from - outcome.learned_from) for outcome in outcomes),
        duplicated=sum(max(0, outcome.learned_from - peaceful.learned_from) for outcome in outcomes),
        conservation_gap=sum(abs(outcome.gap or 0) for outcome in outcomes),
        parameters_identical=all(outcome.parameters == peaceful.parameters for outcome in outcomes),
        recovery_s={name: _spread(times) for name, times in sorted(recoveries.items())},
        recovery_p95_cpu_s=_spread(light)["p95"] if light else 0.0,
        seconds=round(seconds, 1),
        faults=[f"round {number}: {fault}" for number, one in enumerate(rounds, 1) for fault in one.faults],
    )


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    p95 = statistics.quantiles(ordered, n=20, method="inclusive")[-1] if len(ordered) > 1 else ordered[0]
    return {
        "number": len(ordered),
        "p50": round(statistics.median(ordered), 2),
        "p95": round(p95, 2),
        "max": round(ordered[-1], 2),
    }
