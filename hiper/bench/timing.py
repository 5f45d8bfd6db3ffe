"""What all benchmarks share: their options, and a report of figures that says where and how they were measured.

A figure is many values of one quantity, over games or over repeats, and is given as minimum, median and maximum: a
shared machine makes single values worthless. Times are wall-clock times.
"""

import os
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from hiper import __version__

__all__ = ["BenchOptions", "Figure", "Report", "Say", "Target", "bytes_each", "machine", "timed"]

Say = Callable[[str], None]
"""Tells a person how far the benchmark is."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """How to measure."""

    data: Path | None = None
    """Folder or archive with real data; None: synthetic."""
    repeats: int = 5
    """Times everything is measured."""
    scale: float = 1.0
    """Amount of work, as a share of the usual one."""
    seed: int = 0
    """Of everything drawn."""

    def times(self, usual: int, *, least: int = 1) -> int:
        """Number of things to measure where `usual` is the number at scale 1."""
        return max(least, round(usual * self.scale))


@dataclass(frozen=True, slots=True)
class Target:
    """What the median of a figure should reach."""

    value: float
    at_most: bool = False
    """Less is better."""

    def met_by(self, value: float) -> bool:
        """Whether `value` is good enough."""
        return value <= self.value if self.at_most else value >= self.value


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, measured at least once."""

    name: str
    unit: str
    values: Sequence[float]
    over: str
    """What the values are of: `games` or `repeats`."""
    target: Target | None = None

    def to_json(self) -> dict[str, object]:
        """Minimum, median and maximum, and the target if there is one."""
        median = statistics.median(self.values)
        shown: dict[str, object] = {
            "name": self.name,
            "unit": self.unit,
            "min": min(self.values),
            "median": median,
            "max": max(self.values),
            "count": len(self.values),
            "over": self.over,
        }
        if self.target is not None:
            shown["target"] = self.target.value
            shown["target_met"] = self.target.met_by(median)
        return shown


@dataclass(slots=True)
class Report:
    """The outcome of one benchmark."""

    benchmark: str
    data: dict[str, object]
    """Where the data came from, and which version it is."""
    repeats: int
    sizes: dict[str, object] = field(default_factory=dict)
    """How much was measured."""
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was left out, and why."""

    def joined(self, *others: "Report") -> "Report":
        """This report with the sizes, figures and notes of others behind its own."""
        return replace(
            self,
            sizes=dict(item for report in (self, *others) for item in report.sizes.items()),
            figures=[figure for report in (self, *others) for figure in report.figures],
            notes=[note for report in (self, *others) for note in report.notes],
        )

    def to_json(self) -> dict[str, object]:
        """The report as one JSON object."""
        return {
            "benchmark": self.benchmark,
            "version": __version__,
            "machine": machine(),
            "data": self.data,
            "repeats": self.repeats,
            "sizes": self.sizes,
            "figures": [figure.to_json() for figure in self.figures],
            "notes": self.notes,
        }

    def lines(self) -> list[str]:
        """The report as a table."""
        width = 2 + max((len(_title(figure)) for figure in self.figures), default=0)
        head = f"{'':{width}}{'min':>12}{'median':>12}{'max':>12}  target"
        return [
            f"{self.benchmark}: {', '.join(f'{key} {value}' for key, value in self.data.items())}",
            head,
            *(_row(figure, width) for figure in self.figures),
            *self.notes,
        ]


def _title(figure: Figure) -> str:
    return f"{figure.name}, {figure.unit}" if figure.unit else figure.name


def _row(figure: Figure, width: int) -> str:
    values = (min(figure.values), statistics.median(figure.values), max(figure.values))
    numbers = "".join(f"{value:12,.0f}" if value >= 100 else f"{value:12.4g}" for value in values)
    row = f"{_title(figure):{width}}{numbers}"
    if figure.target is None:
        return row
    sign = "≤" if figure.target.at_most else "≥"
    verdict = "met" if figure.target.met_by(values[1]) else "MISSED"
    return f"{row}  {sign} {figure.target.value:,g} {verdict}"


def timed(work: Callable[[], object]) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def bytes_each(make: Callable[[int], object], number: int) -> float:
    """Bytes each that the objects `make` gives for 0, 1, ... `number` - 1 keep."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [make(place) for place in range(number)]
        return (tracemalloc.get_traced_memory()[0] - before) / len(kept)
    finally:
        tracemalloc.stop()


def machine() -> dict[str, object]:
    """What the figures were measured on, and how busy it was just now."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
