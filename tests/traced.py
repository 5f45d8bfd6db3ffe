"""This process traced, its spans kept in memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hiper import tracing
from hiper.metrics import render
from hiper.tracing import Process
from hiper.tracing_otel import Tracer

HERE = Process("test", "test-0", "run")


class Recorded:
    """Spans that have ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def only(self, name: str) -> ReadableSpan:
        (span,) = self.spans(name)
        return span

    def names(self) -> list[str]:
        return [span.name for span in self._exporter.get_finished_spans()]

    def way_home(self, span: ReadableSpan) -> list[str]:
        """Names from `span` up to the root of its trace."""
        known = {one.context.span_id: one for one in self._exporter.get_finished_spans()}
        names = [span.name]
        while span.parent is not None:
            assert span.context.trace_id == span.parent.trace_id
            span = known[span.parent.span_id]
            names.append(span.name)
        return names


@contextmanager
def recording(ratio: float = 1.0) -> Iterator[Recorded]:
    exporter = InMemorySpanExporter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "_tracer", Tracer(HERE, ratio, SimpleSpanProcessor(exporter)))
        yield Recorded(exporter)


class SpanCounts:
    """What `hiper_tracing_spans_total` has moved since this was made."""

    def __init__(self) -> None:
        self._before = self._read()

    def __getitem__(self, result: str) -> float:
        return self._read().get(result, 0.0) - self._before.get(result, 0.0)

    @staticmethod
    def _read() -> dict[str, float]:
        lines = [line for line in render().decode().splitlines() if line.startswith("hiper_tracing_spans_total{")]
        return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"
