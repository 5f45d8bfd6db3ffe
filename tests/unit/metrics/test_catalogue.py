"""The catalogue of metrics: well-formed, bounded, used, and the only source of names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hiper.metrics import CATALOGUE, counter, gauge, render
from hiper.metrics.catalogue import EXTERNAL, LABELS, Kind
from hiper.metrics.page import metrics_page

ROOT = Path(__file__).resolve().parents[3]
SOURCES = {
    path: ast.parse(path.read_text())
    for folder in ("hiper", "services")
    for path in (ROOT / folder).rglob("*.py")
    if not path.is_relative_to(ROOT / "hiper" / "metrics")
}
UNBOUNDED = {"trajectory", "trajectory_id", "task", "task_id", "session_id", "batch_id"}


@pytest.mark.parametrize("spec", CATALOGUE.values(), ids=lambda spec: spec.name)
def test_spec_follows_the_conventions(spec) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", spec.name)
    assert (spec.kind is Kind.COUNTER) == spec.name.endswith("_total")
    assert not spec.name.endswith(("_ms", "_milliseconds"))
    assert (spec.kind is Kind.HISTOGRAM) == bool(spec.buckets)
    assert list(spec.buckets) == sorted(set(spec.buckets))
    assert not set(spec.labels) & UNBOUNDED
    assert spec.help.endswith(".")


def test_unknown_name_or_wrong_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        gauge("no_such_metric")
    with pytest.raises(TypeError, match="is a gauge, not a counter"):
        counter("build_info")


def test_what_was_measured_is_rendered() -> None:
    counter("env_sessions_reaped_total").labels(env="test").inc(3)
    assert 'hiper_env_sessions_reaped_total{env="test"} 3.0' in render().decode()


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Calls of `counter`, `gauge` and `histogram` with a literal name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            name = node.args[0]
            if node.func.id in ("counter", "gauge", "histogram") and isinstance(name, ast.Constant):
                yield name.value, node


def test_every_name_used_in_code_is_in_the_catalogue() -> None:
    used = {name for tree in SOURCES.values() for name, _ in calls(tree)}
    assert used
    assert used <= set(CATALOGUE)


def test_every_metric_of_the_catalogue_is_used_by_code() -> None:
    words = {
        node.value
        for tree in SOURCES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(CATALOGUE) - words == set()


def test_code_gives_each_metric_the_labels_of_the_catalogue() -> None:
    checked = 0
    for path, tree in SOURCES.items():
        metrics = {id(call): name for name, call in calls(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "labels":
                given = {keyword.arg for keyword in node.keywords}
                name = metrics.get(id(node.func.value))
                if name is not None and None not in given:
                    assert given == set(CATALOGUE[name].labels), f"{path}: {name}"
                    checked += 1
    assert checked > 20


def test_every_label_is_explained() -> None:
    assert {label for spec in CATALOGUE.values() for label in spec.labels} == set(LABELS)


def test_no_metric_of_others_is_ours() -> None:
    assert not any(name.startswith("hiper_") for name in EXTERNAL)


def test_the_page_is_what_the_catalogue_says() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == metrics_page(), "run `make metrics`"
