"""One trace per trajectory, over every service (docs/tracing.md).

The trace's id and that of its root span are functions of the trajectory's id, and so is whether it is traced at all.
Whoever works on a trajectory can therefore join its trace knowing nothing else: a process that plays it again after a
crash as well. What travels beside it, in stream entries and in gRPC metadata, is the W3C `traceparent` of the span the
next one belongs under.

Until `configure` has found an endpoint and the packages of the extra `tracing`, every function here does nothing, and
`opentelemetry` is not imported. Nothing here raises on account of tracing.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

from hiper.config.tracing import TracingSettings
from hiper.vocabulary import Stream

if TYPE_CHECKING:
    from hiper.tracing_otel import Tracer

__all__ = [
    "TRACEPARENT",
    "Attributes",
    "Kind",
    "Process",
    "active",
    "add_trace_id",
    "batch",
    "callers",
    "configure",
    "exemplar",
    "is_sampled",
    "issued",
    "messaging",
    "note",
    "on_behalf",
    "publish",
    "root_span_id",
    "served",
    "shutdown",
    "span",
    "trace_id",
    "traceparent",
    "trajectory",
]

TRACEPARENT = "traceparent"
"""Name of the field of a stream entry and of the gRPC metadata."""

Attributes = Mapping[str, str | int | float | bool]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_NOTHING = nullcontext()
_tracer: "Tracer | None" = None


class Kind(Enum):
    """What a span stands for, in OpenTelemetry's words."""

    INTERNAL = "INTERNAL"
    """Work of this process."""
    CLIENT = "CLIENT"
    """A wait for another process."""
    SERVER = "SERVER"
    """The answer to that."""
    PRODUCER = "PRODUCER"
    """Something is put into a stream."""
    CONSUMER = "CONSUMER"
    """Something from a stream is worked on."""


@dataclass(frozen=True, slots=True)
class Process:
    """Who makes the spans of this process."""

    component: str
    """The service, e.g. `rollout`."""
    name: str
    """The process, e.g. `rollout-0`."""
    run: str


def trace_id(trajectory_id: str) -> str:
    """Id of a trajectory's trace, 32 hex digits."""
    return _digest(trajectory_id)[:32]


def root_span_id(trajectory_id: str) -> str:
    """Id of the trace's root span, `task`, 16 hex digits."""
    return _digest(trajectory_id)[32:48]


def is_sampled(trajectory_id: str, ratio: float) -> bool:
    """Whether a trajectory is among the share `ratio` that is traced. Those of a smaller share are in every larger."""
    return int(_digest(trajectory_id)[48:], 16) < ratio * 2**64


def configure(process: Process, settings: TracingSettings) -> None:
    """Begin to trace, if an endpoint is named. Where that cannot be, say why and go on without."""
    global _tracer
    endpoint = settings.endpoint or next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
    if endpoint is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    log = structlog.get_logger()
    try:
        from hiper.tracing_otel import Tracer

        _tracer = Tracer.open(process, settings)
    except ImportError as error:
        log.warning("nothing is traced", error=str(error), hint="pip install 'hiper-rl[tracing]'")
    except Exception as error:  # noqa: BLE001 - exporters raise what they like on variables they cannot use
        log.warning("nothing is traced", error=str(error), hint="check `tracing` of the configuration and OTEL_*")
    else:
        log.info("traces are exported", endpoint=endpoint.rpartition("@")[2], ratio=settings.ratio)


def shutdown() -> None:
    """Export what waits, for a moment, and stop tracing."""
    global _tracer
    if _tracer is not None:
        _tracer.close()
        _tracer = None


def active() -> bool:
    """Whether this process traces."""
    return _tracer is not None


def issued(trajectory_ids: Sequence[str]) -> None:
    """Record the root spans of trajectories whose tasks have been issued."""
    if _tracer is not None:
        _tracer.issued(trajectory_ids)


def trajectory(name: str, stream: Stream, trajectory_id: str, carried: str = "") -> AbstractContextManager[None]:
    """A span around work on one trajectory taken from `stream`; log lines of the body carry `trace_id`.

    `carried` is the entry's `traceparent`; without one, the span belongs under the root.
    """
    return _NOTHING if _tracer is None else _tracer.trajectory(name, stream, trajectory_id, carried)


def publish(stream: Stream) -> AbstractContextManager[None]:
    """A span around putting something into `stream`, below the current one."""
    return span(f"publish {stream}", Kind.PRODUCER, messaging(stream, "send"))


def messaging(stream: Stream, operation: Literal["send", "process"]) -> dict[str, str]:
    """What spans say of a stream, by OpenTelemetry's names."""
    return {
        "messaging.system": "redis",
        "messaging.destination.name": stream.value,
        "messaging.operation.type": operation,
    }


def span(name: str, kind: Kind = Kind.INTERNAL, attributes: Attributes | None = None) -> AbstractContextManager[None]:
    """A span below the current one; nothing if there is none."""
    return _NOTHING if _tracer is None else _tracer.span(name, kind, attributes or {})


def batch(name: str, stream: Stream, batch_id: str, carried: Mapping[str, str]) -> AbstractContextManager[None]:
    """A span around work on a batch taken from `stream`, and one of the same time in each of its members' traces.

    `carried` has the members' `traceparent` by trajectory id, empty where there is none. The spans are linked.
    """
    return _NOTHING if _tracer is None else _tracer.batch(name, stream, batch_id, carried)


def served(method: str, traceparents: Sequence[str]) -> AbstractContextManager[None]:
    """A span around the answer to a call, in each of the traces it was made for."""
    return _NOTHING if _tracer is None else _tracer.served(method, traceparents)


def note(attributes: Attributes) -> None:
    """Add attributes to the current span, if there is one."""
    if _tracer is not None:
        _tracer.note(attributes)


def traceparent(trajectory_id: str = "") -> str:
    """What to send along: the current span, or in a batch the member's. Empty if there is nothing to trace.

    With a trajectory's id, only spans of its own trace count, and its root is taken where there is none.
    """
    return "" if _tracer is None else _tracer.traceparent(trajectory_id)


def exemplar() -> dict[str, str] | None:
    """What leads from a measurement to the current trace, for `observe`; None where nothing is traced."""
    current = traceparent()
    return {"trace_id": current.split("-")[1]} if current else None


def on_behalf(traceparents: Sequence[str]) -> AbstractContextManager[None]:
    """Make the calls of the body for these traces, instead of the current one; empty ones are left out."""
    return _NOTHING if _tracer is None else _tracer.on_behalf(traceparents)


def callers() -> Sequence[str]:
    """The traces a call made now is made for, as `traceparent` each."""
    return () if _tracer is None else _tracer.callers()


def add_trace_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Processor of log lines: those that name a trajectory say where its trace is."""
    name = event.get("trajectory_id")
    if _tracer is not None and isinstance(name, str):
        event["trace_id"] = trace_id(name)
    return event


def _digest(trajectory_id: str) -> str:
    return hashlib.sha256(f"hiper trajectory {trajectory_id}".encode()).hexdigest()
