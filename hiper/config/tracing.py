"""Settings of tracing: where spans go, and of how many trajectories."""

from typing import Annotated, Literal

from pydantic import Field

from hiper.config.base import Positive, Seconds, Section, Share

__all__ = ["TracingSettings"]


class TracingSettings(Section):
    """Traces over OTLP (docs/tracing.md). Off unless an endpoint is named, here or by the standard variables."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^/@\s]+(/\S*)?$")] | None = None
    """Base URL of a collector, e.g. `http://collector:4317`. None: `OTEL_EXPORTER_OTLP_ENDPOINT`, and if that is not
    set either, nothing is traced."""
    protocol: Literal["grpc", "http/protobuf"] | None = None
    """How it is spoken to. None: `OTEL_EXPORTER_OTLP_PROTOCOL`, else `grpc`."""
    ratio: Share = 0.01
    """Share of the trajectories that are traced, chosen by their ids: every service chooses the same ones."""
    queue_spans: Positive = 8192
    """Spans of one process that wait for their export. What comes on top is dropped and counted."""
    timeout_s: Seconds = 5.0
    """Bound of one export, repeats included; then its spans are given up and counted."""
