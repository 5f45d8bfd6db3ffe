"""Stands for Jaeger where its image cannot be pulled: collector.py OTLP_PORT HTTP_PORT

Takes spans over OTLP, and answers the one question of Jaeger's API that scripts/compose_smoke.py asks, in Jaeger's
form: `GET /api/traces?service=NAME&limit=N`, the newest last. It keeps the newest spans in memory.
"""

import json
import sys
import threading
from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as stubs

KEPT_SPANS = 100_000


class Spans(stubs.TraceServiceServicer):
    """What has arrived, as `(trace, service, span)`."""

    def __init__(self) -> None:
        self._kept: deque[tuple[str, str, dict[str, Any]]] = deque(maxlen=KEPT_SPANS)
        self._lock = threading.Lock()

    def Export(self, request: pb.ExportTraceServiceRequest, _context: object) -> pb.ExportTraceServiceResponse:  # noqa: N802
        """Take spans."""
        for resource in request.resource_spans:
            about = {one.key: one.value.string_value for one in resource.resource.attributes}
            spans = [span for scope in resource.scope_spans for span in scope.spans]
            with self._lock:
                self._kept += [(span.trace_id.hex(), about["service.name"], _said(span)) for span in spans]
        return pb.ExportTraceServiceResponse()

    def traces(self, service: str, limit: int) -> list[dict[str, Any]]:
        """Return the newest traces with a span of `service`."""
        found = defaultdict(list)
        with self._lock:
            for trace, maker, span in self._kept:
                found[trace].append({**span, "processID": maker})
        made = [
            {"traceID": trace, "spans": spans, "processes": {name: {"serviceName": name} for name in makers}}
            for trace, spans in found.items()
            if service in (makers := {span["processID"] for span in spans})
        ]
        return made[-limit:]


def _said(span: Any) -> dict[str, Any]:
    parent = [{"refType": "CHILD_OF", "spanID": span.parent_span_id.hex()}] if span.parent_span_id else []
    return {"spanID": span.span_id.hex(), "operationName": span.name, "references": parent}


def serve(otlp_port: int, http_port: int) -> None:
    """Serve until it is killed."""
    spans = Spans()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            service, limit = asked.get("service", [""])[0], int(asked.get("limit", ["20"])[0])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": spans.traces(service, limit)}).encode())

        def log_message(self, *_message: object) -> None:
            """Say nothing: a health check asks every ten seconds."""

    server = grpc.server(ThreadPoolExecutor(4))
    stubs.add_TraceServiceServicer_to_server(spans, server)
    server.add_insecure_port(f"0.0.0.0:{otlp_port}")
    server.start()
    ThreadingHTTPServer(("", http_port), Page).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
