"""Spans on their way out: a collector that is slow, dead or broken costs spans, each counted, and nothing else."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from traced import HERE, SpanCounts

from hiper import tracing
from hiper.tracing_export import SpanQueue
from hiper.tracing_otel import Tracer
from hiper.vocabulary import Stream

DEADLINE_S = 20.0


class Scripted(SpanExporter):
    """Answers as told, once its gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked = threading.Event()
        self.answer: SpanExportResult | Exception = SpanExportResult.SUCCESS
        self.seen: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self.gate.wait(DEADLINE_S)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is SpanExportResult.SUCCESS:
            self.seen += [span.name for span in spans]
        return self.answer

    def shutdown(self) -> None:
        self.gate.set()


def eventually(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < give_up, "the condition did not come true in time"
        time.sleep(0.01)


@pytest.fixture
def exporter() -> Scripted:
    return Scripted()


@pytest.fixture
def moved(exporter: Scripted, monkeypatch: pytest.MonkeyPatch) -> Iterator[SpanCounts]:
    """This process traced with a queue of four spans; what the counter has moved since."""
    counts = SpanCounts()
    tracer = Tracer(HERE, 1.0, SpanQueue(exporter, 4))
    monkeypatch.setattr(tracing, "_tracer", tracer)
    yield counts
    tracer.close()


def make(*names: str) -> None:
    for name in names:
        with tracing.trajectory(name, Stream.RAW, "run/train-000000/0/0"):
            pass


def test_a_collector_that_hangs_holds_nobody_up(exporter: Scripted, moved: SpanCounts) -> None:
    make("first")
    assert exporter.asked.wait(DEADLINE_S)
    make(*(f"later-{n}" for n in range(10)))
    assert moved["dropped"] == 6
    exporter.gate.set()
    eventually(lambda: moved["exported"] == 5)
    assert exporter.seen == ["first", "later-0", "later-1", "later-2", "later-3"]


@pytest.mark.parametrize("answer", [SpanExportResult.FAILURE, OSError("no route")])
def test_failed_exports_are_counted_and_the_next_one_is_tried(
    answer: SpanExportResult | Exception, exporter: Scripted, moved: SpanCounts
) -> None:
    exporter.gate.set()
    exporter.answer = answer
    make("lost")
    eventually(lambda: moved["failed"] == 1)
    exporter.answer = SpanExportResult.SUCCESS
    make("kept")
    eventually(lambda: exporter.seen == ["kept"])


def test_what_waits_is_exported_at_the_end(exporter: Scripted, moved: SpanCounts) -> None:
    exporter.gate.set()
    make("last")
    tracing.shutdown()
    assert exporter.seen == ["last"]
    assert not tracing.active()
