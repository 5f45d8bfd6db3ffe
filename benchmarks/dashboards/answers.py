"""What the panels of a dashboard are answered, with its variables set to All, as Grafana asks."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.dashboards.prometheus import Prometheus, Series, Span

__all__ = ["PAGES", "Answered", "Page", "asked", "questions"]

Json = Mapping[str, Any]

PAGES: Mapping[str, Json] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).resolve().parents[2] / "deploy/grafana/dashboards").glob("*.json"))
}
"""The committed dashboards by uid."""


def asked(expr: str, window: str = "1m") -> str:
    """Return an expression with Grafana's variables filled in: everything chosen, rates over `window`."""
    for variable, value in (("$__rate_interval", window), ("$namespace", ".*"), ("$run", ".*"), ("$env", ".*")):
        expr = expr.replace(variable, value)
    if "$" in expr:
        raise ValueError(f"a variable nobody fills: {expr}")
    return expr


def questions(page: Json) -> Iterator[tuple[str, str]]:
    """Yield every expression of a page, annotations included, and where it stands."""
    for panel in page["panels"]:
        for target in panel.get("targets", ()):
            yield f"{page['uid']} / {panel['title']}", target["expr"]
    for mark in page["annotations"]["list"]:
        yield f"{page['uid']} / annotation {mark['name']}", mark["expr"]


@dataclass(frozen=True, slots=True)
class Answered:
    """A page with what it was answered: lines by panel id, each with its legend, and the moments it marks."""

    page: Json
    span: Span
    lines: Mapping[int, list[tuple[str, Series]]]
    marks: list[tuple[float, str]]
    empty: list[str]
    """Where an expression has no answer."""


class Page:
    """Asks for one page over one span."""

    def __init__(self, page: Json, prometheus: Prometheus, span: Span, scrape_s: float) -> None:
        self._page, self._prometheus, self._span = page, prometheus, span
        # Grafana's rule for $__rate_interval.
        self._window = f"{max(span.step + scrape_s, 4 * scrape_s):.0f}s"

    def answered(self) -> Answered:
        """Ask everything."""
        empty = [where for where, expr in questions(self._page) if not self._ask(expr)]
        lines = {panel["id"]: list(self._lines(panel)) for panel in self._page["panels"]}
        marks = sorted(
            (series.times[0], mark["iconColor"])
            for mark in self._page["annotations"]["list"]
            if mark["enable"]
            for series in self._ask(mark["expr"])
        )
        return Answered(self._page, self._span, lines, marks, empty)

    def _lines(self, panel: Json) -> Iterator[tuple[str, Series]]:
        for target in panel.get("targets", ()):
            for series in self._ask(target["expr"]):
                yield _legend(target["legendFormat"], series.labels), series

    def _ask(self, expr: str) -> list[Series]:
        return self._prometheus.series(asked(expr, self._window), self._span)


def _legend(form: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), form).strip()
