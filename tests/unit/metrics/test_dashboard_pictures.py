"""Pictures of the dashboards: each panel in its place with its own answers, and what has no answer is named."""

import re
from pathlib import Path

import pytest

from benchmarks.dashboards.answers import PAGES, Answered, Page, asked
from benchmarks.dashboards.picture import draw_page, in_unit
from benchmarks.dashboards.prometheus import Series, Span

ROOT = Path(__file__).resolve().parents[3]
SPAN = Span(1_700_000_000.0, 1_700_000_600.0, 5.0)
WORDS = {"stream": "traj.raw", "kind": "prompt"}


class Canned:
    """Answers every expression but those that name a metric it lacks."""

    def __init__(self, lacking: str = "\0") -> None:
        self._lacking = lacking
        self.questions: list[str] = []

    def series(self, expr: str, span: Span) -> list[Series]:
        self.questions.append(expr)
        if self._lacking in expr:
            return []
        times = [span.start, (span.start + span.end) / 2, span.end]
        return [Series(WORDS, times, [1.0, 5e6, 2.0]), Series({}, times[1:], [0.0, 0.0])]


def answered(uid: str, prometheus: Canned) -> Answered:
    return Page(PAGES[uid], prometheus, SPAN, scrape_s=5).answered()  # type: ignore[arg-type]


@pytest.mark.parametrize("uid", PAGES)
def test_every_panel_is_drawn(uid: str) -> None:
    found = answered(uid, Canned())
    assert found.empty == []
    texts = {text.get_text() for text in draw_page(found, "where it is from").texts}
    assert {panel["title"] for panel in PAGES[uid]["panels"]} <= texts
    assert {PAGES[uid]["title"], "where it is from"} <= texts


def test_what_has_no_answer_is_named_and_the_rest_is_drawn() -> None:
    found = answered("hiper-pipeline", Canned("hiper_stream_in_flight"))
    assert found.empty == ["hiper-pipeline / In flight"]
    assert draw_page(found, "").texts


def test_rates_are_over_as_much_as_grafana_takes() -> None:
    prometheus = Canned()
    answered("hiper-env", prometheus)
    assert {window for expr in prometheus.questions for window in re.findall(r"\[(\w+)\]", expr)} == {"20s"}


def test_a_legend_says_what_the_series_is() -> None:
    found = answered("hiper-pipeline", Canned())
    (panel,) = [panel for panel in PAGES["hiper-pipeline"]["panels"] if panel["title"] == "Not delivered yet"]
    assert [name for name, _ in found.lines[panel["id"]]] == ["traj.raw", ""]


def test_a_variable_nobody_fills_is_refused() -> None:
    with pytest.raises(ValueError, match="a variable nobody fills"):
        asked('up{pod=~"$pod"}')


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.25, "percentunit", "25%"),
        (0.0021, "s", "2.1 ms"),
        (5e-6, "s", "5 µs"),
        (0.0, "s", "0 s"),
        (7200, "s", "2 hours"),
        (3 * 2**20, "bytes", "3 MiB"),
        (-2048, "bytes", "-2 KiB"),
        (1500, "short", "1.5 K"),
        (1500, "none", "1500"),
        (12, "reqps", "12 req/s"),
    ],
)
def test_a_value_is_written_in_its_unit(value: float, unit: str, text: str) -> None:
    assert in_unit(value, unit) == text


@pytest.mark.parametrize("uid", PAGES)
def test_every_page_is_shown_in_the_documents(uid: str) -> None:
    picture = ROOT / f"docs/pictures/dashboards/{uid}.png"
    assert f"(pictures/dashboards/{uid}.png)" in (ROOT / "docs/dashboards.md").read_text()
    assert picture.stat().st_size < 300_000, "people read documents over telephones"
