"""What reaches a collector, by either protocol of OTLP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from otlp_collector import Collector, collecting
from traced import SpanCounts

from hiper import tracing
from hiper.config.tracing import TracingSettings
from hiper.tracing import Process
from hiper.vocabulary import Stream

NAME = "run/train-000000/0/0"


@contextmanager
def collecting_over_http() -> Iterator[tuple[Collector, str]]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found = self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["content-length"]))
            if found:
                collector.add(pb.ExportTraceServiceRequest.FromString(body))
            self.send_response(200 if found else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield collector, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("by", ["setting", "variables"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_spans_arrive_under_the_name_of_their_service(protocol: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    counts = SpanCounts()
    with (collecting if protocol == "grpc" else collecting_over_http)() as (collector, url):
        settings = TracingSettings(ratio=1.0)
        if by == "setting":
            settings = TracingSettings(endpoint=url, protocol=protocol, ratio=1.0)
        else:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        tracing.configure(Process("reward", "reward-1", "run"), settings)
        with tracing.trajectory("reward", Stream.RAW, NAME):
            pass
        tracing.shutdown()
    (span,) = collector.spans
    assert (span.service, span.name, span.trace_id) == ("reward", "reward", tracing.trace_id(NAME))
    assert (counts["exported"], counts["failed"], counts["dropped"]) == (1, 0, 0)
