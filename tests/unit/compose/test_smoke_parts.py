"""What the smoke run asks of traces, and the script that takes Jaeger's part in it."""

import runpy
from collections.abc import Callable
from typing import Any

import pytest
from compose_file import ROOT
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb

STAGES = ("learner", "rollout", "env_server", "reward", "hae")
Spans = Any


@pytest.fixture(scope="module")
def spans_of() -> Callable[..., Spans]:
    return runpy.run_path(str(ROOT / "tests/compose/collector.py"))["Spans"]


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], bool]:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return runpy.run_path(str(ROOT / "scripts/compose_smoke.py"))["connected"]


def export(spans: Spans, trace: bytes, service: str, span: bytes, parent: bytes, name: str = "work") -> None:
    made = {"trace_id": trace * 16, "span_id": span * 8, "parent_span_id": parent * 8 if parent else b"", "name": name}
    about = {"attributes": [{"key": "service.name", "value": {"string_value": service}}]}
    scopes = [{"spans": [made]}]
    spans.Export(pb.ExportTraceServiceRequest(resource_spans=[{"resource": about, "scope_spans": scopes}]), None)


def chain(spans: Spans, trace: bytes, *, without: str = "") -> None:
    """A span of each stage below the one before, and the learner's step below the last."""
    for number, service in enumerate(STAGES, 1):
        if service != without:
            export(spans, trace, service, bytes([number]), bytes([number - 1]) if number > 1 else b"")
    if without != "learner":
        export(spans, trace, "learner", b"\x09", bytes([len(STAGES)]), "learner.step")


def test_a_trace_over_every_stage_is_found_whole(spans_of: Callable[..., Spans], connected: Any) -> None:
    spans = spans_of()
    chain(spans, b"\x01")
    (trace,) = spans.traces("learner", 10)
    assert trace["traceID"] == "01" * 16
    assert len(trace["spans"]) == len(STAGES) + 1
    assert connected(trace)


@pytest.mark.parametrize("missing", STAGES)
def test_a_trace_that_lacks_a_stage_is_none(missing: str, spans_of: Callable[..., Spans], connected: Any) -> None:
    spans = spans_of()
    chain(spans, b"\x01", without=missing)
    assert not any(map(connected, spans.traces("rollout" if missing == "learner" else "learner", 10)))


def test_the_newest_traces_of_a_service_are_shown(spans_of: Callable[..., Spans]) -> None:
    spans = spans_of()
    for trace in (b"\x01", b"\x02", b"\x03"):
        export(spans, trace, "learner", b"\x01", b"")
    export(spans, b"\x04", "reward", b"\x01", b"")
    assert [trace["traceID"][:2] for trace in spans.traces("learner", 2)] == ["02", "03"]
