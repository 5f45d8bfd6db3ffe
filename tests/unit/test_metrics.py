"""The catalogue of metrics: well-formed, bounded, and the only source of names."""

import re
from pathlib import Path

import pytest

from hiper.metrics import CATALOGUE, counter, gauge, render
from hiper.metrics.catalogue import Kind

ROOT = Path(__file__).resolve().parents[2]
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


def test_every_name_used_in_code_is_in_the_catalogue() -> None:
    used = set()
    for folder in ("hiper", "services"):
        for path in (ROOT / folder).rglob("*.py"):
            used |= set(re.findall(r"\b(?:counter|gauge|histogram)\(\s*\"([a-z0-9_]+)\"", path.read_text()))
    assert used
    assert used <= set(CATALOGUE)
