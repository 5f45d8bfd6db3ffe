"""What `hiper.tracing` does once it is configured: spans by OpenTelemetry's SDK. Imported by it alone, and late.

The provider is our own, not the process-wide one, so that nothing else in the process (vLLM, a user's own tracing) is
exported, sampled or configured by accident.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Self, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from structlog.contextvars import bound_contextvars

from hiper import tracing
from hiper.config.tracing import TracingSettings
from hiper.tracing import Attributes, Kind, Process
from hiper.tracing_export import SpanQueue, make_exporter
from hiper.vocabulary import Stream

__all__ = ["Tracer"]

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_MAX_LINKS = 4096
"""Members a batch's span names; each of them names the batch in any case."""

T = TypeVar("T")
_NOTHING = nullcontext()
_root: ContextVar[tuple[int, int] | None] = ContextVar("root", default=None)
_members: ContextVar[Mapping[str, SpanContext]] = ContextVar("members", default={})  # noqa: B039 - never changed
_callers: ContextVar[Sequence[str] | None] = ContextVar("callers", default=None)


class Tracer:
    """Makes the spans of one process."""

    def __init__(self, process: Process, ratio: float, spans: SpanProcessor) -> None:
        resource = Resource.create(
            {
                "service.name": process.component,
                "service.namespace": "hiper",
                "service.instance.id": process.name,
                "hiper.run": process.run,
            }
        )
        # Who is traced is decided here, by trajectory; what gets as far as the SDK is recorded.
        self._provider = TracerProvider(
            ALWAYS_ON,
            resource,
            shutdown_on_exit=False,
            id_generator=_Ids(),
            span_limits=SpanLimits(max_links=_MAX_LINKS),
        )
        self._provider.add_span_processor(spans)
        self._otel = self._provider.get_tracer("hiper")
        self._component, self._ratio = process.component, ratio

    @classmethod
    def open(cls, process: Process, settings: TracingSettings) -> Self:
        """Trace to the collector of `settings`."""
        return cls(process, settings.ratio, SpanQueue(make_exporter(settings), settings.queue_spans))

    def close(self) -> None:
        """Export what waits, for a moment."""
        self._provider.shutdown()

    def issued(self, trajectory_ids: Sequence[str]) -> None:
        """See `hiper.tracing.issued`."""
        for name in trajectory_ids:
            if not tracing.is_sampled(name, self._ratio):
                continue
            about = {"hiper.trajectory_id": name, **tracing.messaging(Stream.TASKS, "send")}
            with _set(_root, (int(tracing.trace_id(name), 16), int(tracing.root_span_id(name), 16))):
                self._otel.start_span("task", Context(), SpanKind.PRODUCER, about).end()

    def trajectory(self, name: str, stream: Stream, trajectory_id: str, carried: str) -> AbstractContextManager[None]:
        """See `hiper.tracing.trajectory`."""
        parent = self._parent(trajectory_id, carried)
        if parent is None:
            return _NOTHING
        about = {"hiper.trajectory_id": trajectory_id, **self._taken_from(stream)}
        return self._entered(name, parent, SpanKind.CONSUMER, about)

    def span(self, name: str, kind: Kind, attributes: Attributes) -> AbstractContextManager[None]:
        """See `hiper.tracing.span`."""
        current = trace.get_current_span()
        if not current.is_recording():
            return _NOTHING
        return self._entered(name, current.get_span_context(), SpanKind[kind.value], attributes)

    @contextmanager
    def batch(self, name: str, stream: Stream, batch_id: str, carried: Mapping[str, str]) -> Iterator[None]:
        """See `hiper.tracing.batch`."""
        found = {member: self._parent(member, header) for member, header in carried.items()}
        parents = {member: parent for member, parent in found.items() if parent is not None}
        if not parents:
            yield
            return
        about: Attributes = {"hiper.batch_id": batch_id, "hiper.members": len(carried), **self._taken_from(stream)}
        links = [Link(parent) for parent in parents.values()]
        with self._otel.start_as_current_span(f"{name} batch", Context(), SpanKind.CONSUMER, about, links) as whole:
            link = [Link(whole.get_span_context())]
            spans = {
                member: self._otel.start_span(
                    name, _under(parent), SpanKind.CONSUMER, {"hiper.trajectory_id": member, **about}, link
                )
                for member, parent in parents.items()
            }
            members = {member: one.get_span_context() for member, one in spans.items()}
            with _ended_together(list(spans.values())), _set(_members, members):
                yield

    @contextmanager
    def served(self, method: str, traceparents: Sequence[str]) -> Iterator[None]:
        """See `hiper.tracing.served`."""
        parents = [parent for header in traceparents if (parent := _read(header)) is not None]
        service, _, name = method.strip("/").rpartition("/")
        about: Attributes = {
            "rpc.system": "grpc",
            "rpc.service": service,
            "rpc.method": name,
            "hiper.traces": len(parents),
        }
        spans = [self._otel.start_span(method.strip("/"), _under(parent), SpanKind.SERVER, about) for parent in parents]
        with _ended_together(spans):
            yield

    def note(self, attributes: Attributes) -> None:
        """See `hiper.tracing.note`."""
        trace.get_current_span().set_attributes(attributes)

    def traceparent(self, trajectory_id: str) -> str:
        """See `hiper.tracing.traceparent`."""
        current = trace.get_current_span()
        context = current.get_span_context() if current.is_recording() else None
        if trajectory_id:
            if context is None or context.trace_id != int(tracing.trace_id(trajectory_id), 16):
                context = self._parent(trajectory_id, "")
            context = _members.get().get(trajectory_id, context)
        return _write(context) if context is not None else ""

    def on_behalf(self, traceparents: Sequence[str]) -> AbstractContextManager[None]:
        """See `hiper.tracing.on_behalf`."""
        return _set(_callers, tuple(header for header in traceparents if header))

    def callers(self) -> Sequence[str]:
        """See `hiper.tracing.callers`."""
        named = _callers.get()
        if named is not None:
            return named
        current = self.traceparent("")
        return (current,) if current else ()

    def _taken_from(self, stream: Stream) -> dict[str, str]:
        return {**tracing.messaging(stream, "process"), "messaging.consumer.group.name": self._component}

    @contextmanager
    def _entered(self, name: str, parent: SpanContext, kind: SpanKind, about: Attributes) -> Iterator[None]:
        with (
            self._otel.start_as_current_span(name, _under(parent), kind, about),
            bound_contextvars(trace_id=f"{parent.trace_id:032x}"),
        ):
            yield

    def _parent(self, trajectory_id: str, carried: str) -> SpanContext | None:
        """The span a new one of this trajectory belongs under; None if it is not traced."""
        own = int(tracing.trace_id(trajectory_id), 16)
        given = _read(carried)
        if given is not None and given.trace_id == own:
            return given
        if not tracing.is_sampled(trajectory_id, self._ratio):
            return None
        return _context(own, int(tracing.root_span_id(trajectory_id), 16))


class _Ids(RandomIdGenerator):
    """Random ids, but for the root of a trajectory's trace."""

    def generate_trace_id(self) -> int:
        root = _root.get()
        return root[0] if root else super().generate_trace_id()

    def generate_span_id(self) -> int:
        root = _root.get()
        return root[1] if root else super().generate_span_id()


@contextmanager
def _ended_together(spans: Sequence[Span]) -> Iterator[None]:
    """End the spans with the body, as failed if it fails."""
    try:
        yield
    except Exception as error:
        for span in spans:
            span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        raise
    finally:
        for span in spans:
            span.end()


@contextmanager
def _set(variable: ContextVar[T], value: T) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _under(parent: SpanContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _write(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def _read(header: str) -> SpanContext | None:
    """Read a `traceparent`; None if it is none, or says that its trace is not recorded."""
    found = _TRACEPARENT.fullmatch(header)
    if found is None or not int(found[3], 16) & TraceFlags.SAMPLED:
        return None
    return _context(int(found[1], 16), int(found[2], 16))
