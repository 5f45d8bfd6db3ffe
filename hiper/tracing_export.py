"""Spans on their way out: the standard exporter behind a bounded queue. Imported by the tracer alone."""

import logging
import os
import queue
import threading
from collections.abc import Iterator, Sequence

import structlog
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from hiper.config.tracing import TracingSettings
from hiper.errors import ConfigError
from hiper.metrics import counter

__all__ = ["SpanQueue", "make_exporter"]

_SPANS_PER_EXPORT = 512
_GATHER_S = 0.5
"""How long spans are gathered before they are exported."""
_CLOSE_S = 2.0
"""How long the last export may take when the process ends."""


def make_exporter(settings: TracingSettings) -> SpanExporter:
    """Return the standard exporter; what `settings` leave open it reads from the standard variables.

    Raises `ConfigError` for a protocol it does not know.
    """
    protocol = settings.protocol or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc"
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(endpoint=settings.endpoint, timeout=settings.timeout_s)
    if protocol != "http/protobuf":
        raise ConfigError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}", "use grpc or http/protobuf")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    endpoint = f"{settings.endpoint.rstrip('/')}/v1/traces" if settings.endpoint else None
    return HttpExporter(endpoint=endpoint, timeout=settings.timeout_s)


class SpanQueue(SpanProcessor):
    """Spans on their way out: a bounded queue and a thread, so that no collector, slow or dead, is ever waited for.

    Every span counts once in `hiper_tracing_spans_total`, as exported, failed or dropped.
    """

    def __init__(self, exporter: SpanExporter, room: int) -> None:
        self._exporter = exporter
        self._waiting: queue.Queue[ReadableSpan] = queue.Queue(room)
        self._closing = threading.Event()
        self._healthy = True
        self._log = structlog.get_logger()
        self._reason = _LastWords()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Take a finished span."""
        try:
            self._waiting.put_nowait(span)
        except queue.Full:
            _count("dropped", 1)

    def shutdown(self) -> None:
        """Export what waits, for a moment, if the collector was there last time."""
        self._closing.set()
        self._thread.join(_CLOSE_S if self._healthy else 0.0)
        self._exporter.shutdown()
        _count("dropped", self._waiting.qsize())

    def _run(self) -> None:
        while not self._closing.wait(_GATHER_S):
            self._export_waiting()
        self._export_waiting()

    def _export_waiting(self) -> None:
        while (self._healthy or not self._closing.is_set()) and (spans := list(self._next())):
            self._export(spans)

    def _next(self) -> Iterator[ReadableSpan]:
        for _ in range(_SPANS_PER_EXPORT):
            try:
                yield self._waiting.get_nowait()
            except queue.Empty:
                return

    def _export(self, spans: Sequence[ReadableSpan]) -> None:
        try:
            exported = self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001 - whatever an exporter raises, the run goes on without these spans
            self._reason.text, exported = f"{type(error).__name__}: {error}", False
        _count("exported" if exported else "failed", len(spans))
        if exported and not self._healthy:
            self._log.info("traces are exported again")
        elif self._healthy and not exported:
            self._log.warning("traces are lost until the collector is back", error=self._reason.text)
        self._healthy = exported


class _LastWords(logging.Handler):
    """Keeps what the exporters say instead of printing it: theirs is the only word on why an export failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""
        logger = logging.getLogger("opentelemetry")
        logger.handlers, logger.propagate = [self], False

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


def _count(result: str, spans: int) -> None:
    if spans:
        counter("tracing_spans_total").labels(result=result).inc(spans)
