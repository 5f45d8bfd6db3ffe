"""Traces: every service is told where spans go, in the variables its exporter reads."""

from typing import Any

import pytest
from chart_render import NAMESPACE, Pod, render, values_at
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter

from hiper.config import parse_config
from hiper.tracing_export import make_exporter

TRACED: dict[str, Any] = {
    "tracing": {
        "endpoint": "https://collector.tracing:4317",
        "headers": {"existingSecret": "otel", "key": "bearer"},
        "caSecret": "collector-ca",
        "resourceAttributes": {"deployment.environment.name": "production", "team": "rl"},
    }
}
SERVICES = ("env-alfworld", "rollout", "reward", "hae", "learner", "control")
services = pytest.mark.parametrize("component", SERVICES)


def told(pod: Pod) -> dict[str, Any]:
    return {name: value for name, value in pod.variables.items() if name.startswith("OTEL_")}


def exporter(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> SpanExporter:
    """What the program makes of the pod's variables."""
    for name, value in told(pod).items():
        if isinstance(value, str) and not name.endswith("CERTIFICATE"):
            monkeypatch.setenv(name, value)
    return make_exporter(parse_config(render(TRACED).config, source="chart", environment={}).tracing)


@services
def test_a_service_exports_where_it_is_told(component: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = exporter(render(TRACED).pod(component), monkeypatch)
    assert isinstance(found, OTLPSpanExporter)
    assert found._endpoint == "collector.tracing:4317"


@services
def test_its_spans_say_where_they_were_made(component: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = told(render(TRACED).pod(component))["OTEL_RESOURCE_ATTRIBUTES"]
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", said.replace("$(POD_NAME)", "a-pod"))
    attributes = Resource.create().attributes
    assert attributes["k8s.pod.name"] == "a-pod"
    assert attributes["k8s.namespace.name"] == NAMESPACE
    assert attributes["deployment.environment.name"] == "production"
    assert attributes["team"] == "rl"


@services
def test_a_pods_name_is_known_before_it_is_used(component: str) -> None:
    """Kubernetes replaces $(NAME) by variables further up only."""
    names = [item["name"] for item in render(TRACED).pod(component).main["env"]]
    assert names.index("POD_NAME") < names.index("OTEL_RESOURCE_ATTRIBUTES")


@services
def test_credentials_and_authority_come_from_secrets(component: str) -> None:
    pod = render(TRACED).pod(component)
    assert told(pod)["OTEL_EXPORTER_OTLP_HEADERS"] == {"secretKeyRef": {"name": "otel", "key": "bearer"}}
    path = told(pod)["OTEL_EXPORTER_OTLP_CERTIFICATE"]
    assert pod.mounts[path.removesuffix("/ca.crt")]["readOnly"] is True
    assert pod.volume("tracing-ca")["secret"]["secretName"] == "collector-ca"


@services
def test_nothing_is_told_without_a_collector(component: str) -> None:
    assert told(render().pod(component)) == {}


def test_the_share_that_is_traced_is_a_setting_of_the_run() -> None:
    """Every service must choose the same trajectories, the env servers with run files of their own among them."""
    rendered = render(values_at("config.tracing.ratio", 0.5))
    for name, text in rendered.find("ConfigMap", "config")["data"].items():
        assert "ratio: 0.5" in text, name


def test_over_http_it_is_spoken_to_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"tracing": {"endpoint": "http://collector:4318", "protocol": "http/protobuf"}}
    found = exporter(render(values).pod("hae"), monkeypatch)
    assert found._endpoint == "http://collector:4318/v1/traces"  # type: ignore[attr-defined]
