"""An OTLP collector in the test's own process: what services export is what it has."""

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as stubs


@dataclass(frozen=True)
class SeenSpan:
    """One span as it arrived; ids in hex."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    linked: tuple[str, ...]
    """Ids of the traces it links to."""


@dataclass
class Collector(stubs.TraceServiceServicer):
    spans: list[SeenSpan] = field(default_factory=list)

    def Export(  # noqa: N802
        self, request: pb.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> pb.ExportTraceServiceResponse:
        self.add(request)
        return pb.ExportTraceServiceResponse()

    def add(self, request: pb.ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            about = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [
                    SeenSpan(
                        about["service.name"],
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        tuple(link.trace_id.hex() for link in span.links),
                    )
                    for span in scope.spans
                ]

    def traces(self) -> dict[str, list[SeenSpan]]:
        """Spans by the id of their trace."""
        found = defaultdict(list)
        for span in self.spans:
            found[span.trace_id].append(span)
        return dict(found)


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    """A collector and its URL."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    stubs.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def detached(spans: list[SeenSpan], root: str) -> list[SeenSpan]:
    """Spans of one trace from which no way of parents leads to the span `root`."""
    parents = {span.span_id: span.parent_id for span in spans}

    def leads_home(span_id: str) -> bool:
        seen: set[str] = set()
        while span_id in parents and span_id not in seen:
            seen.add(span_id)
            span_id = parents[span_id]
        return root in seen and not span_id

    return [span for span in spans if not leads_home(span.span_id)]
