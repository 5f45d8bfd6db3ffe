"""Dashboards: what is committed is what the code makes, and every expression asks for something that exists."""

from collections import Counter
from pathlib import Path

import pytest
from promql_use import faults_of, use_of

from benchmarks.dashboards.answers import PAGES, asked, questions
from hiper.metrics.catalogue import CATALOGUE, Kind
from hiper.metrics.dashboards import DASHBOARDS, dashboard_files

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
EXPRESSIONS = [question for page in PAGES.values() for question in questions(page)]


def panels_of(page: dict) -> list[dict]:
    return [panel for panel in page["panels"] if panel["type"] != "row"]


def test_the_committed_files_are_what_the_code_makes() -> None:
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == dict(dashboard_files()), "run `make metrics`"


@pytest.mark.parametrize(("where", "expr"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_an_expression_parses_and_names_only_metrics_and_labels_of_the_catalogue(where: str, expr: str) -> None:
    assert faults_of(asked(expr)) == []


UNSEEN: dict[str, str] = {}
"""Metrics of the catalogue that no panel shows, each with the reason why nobody misses it."""


def test_every_metric_is_in_a_panel_or_has_a_reason() -> None:
    """A metric nobody looks at is one nobody measures: new ones get a panel with their first line of code."""
    shown = [expr for where, expr in EXPRESSIONS if "/ annotation" not in where]
    named = {metric for expr in shown for metric, _ in use_of(asked(expr)).selected}
    series = {
        spec.name: {f"hiper_{spec.name}{suffix}" for suffix in ("_bucket", "_sum", "_count")}
        if spec.kind is Kind.HISTOGRAM
        else {f"hiper_{spec.name}"}
        for spec in CATALOGUE.values()
    }
    assert {name for name, names in series.items() if not names & named} == set(UNSEEN)


@pytest.mark.parametrize("name", PAGES)
def test_every_panel_says_what_it_shows_and_belongs_to_the_chosen_run(name: str) -> None:
    for panel in panels_of(PAGES[name]):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["legendFormat"], panel["title"]
            assert "{" in target["expr"]
            assert target["expr"].count("{") == target["expr"].count('run=~"$run"'), target["expr"]


@pytest.mark.parametrize("name", PAGES)
def test_panels_do_not_overlap_and_fit_the_page(name: str) -> None:
    taken: Counter[tuple[int, int]] = Counter()
    for panel in PAGES[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = [(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])]
        taken.update(cells)
    assert max(taken.values()) == 1


def test_pages_have_names_and_links_of_their_own() -> None:
    assert [page.uid for page in DASHBOARDS] == [
        "hiper-overview",
        "hiper-training",
        "hiper-pipeline",
        "hiper-env",
        "hiper-serving",
        "hiper-redis",
    ], "a uid is in somebody's bookmarks"
    for page in PAGES.values():
        assert page["schemaVersion"] == 39
        assert len({panel["id"] for panel in page["panels"]}) == len(page["panels"])
        titles = [panel["title"] for panel in panels_of(page)]
        assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("hiper_no_such_metric", "there is no metric"),
        ("learner_entropy", "there is no metric"),
        ("hiper_env_step_duration_seconds", "there is no metric"),
        ('hiper_learner_entropy{level="low"}', "has no label level"),
        ("sum by (level) (hiper_learner_entropy)", "no metric of it has the label level"),
    ],
)
def test_a_wrong_expression_is_found(expr: str, fault: str) -> None:
    assert any(fault in found for found in faults_of(expr))
