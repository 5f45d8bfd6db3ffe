"""Metrics, alerts, dashboards and control."""

import re
from typing import Any

import pytest
import yaml
from chart_render import CHART, EVERY, Rendered, render, values_at
from relabelled import relabelled

from hiper.supervisor.table import SERVICES


@pytest.mark.parametrize("key", ["interval", "scrapeTimeout"])
def test_a_service_monitor_asks_as_often_as_it_is_told(key: str) -> None:
    rendered = render({"metrics": {"serviceMonitor": {"enabled": True, key: "42s"}}})
    (endpoint,) = rendered.find("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint[key] == "42s"


def test_metrics_carry_what_dashboards_and_alerts_select_by() -> None:
    rendered = render({"metrics": {"serviceMonitor": {"enabled": True, "additionalLabels": {"release": "kps"}}}})
    monitor = rendered.find("ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert {rule["targetLabel"] for rule in endpoint["relabelings"]} == {"run", "component", "process"}
    assert monitor["metadata"]["labels"]["release"] == "kps"
    ports = {port["name"] for item in rendered.of("Service") for port in item["spec"]["ports"]}
    assert endpoint["port"] in ports


def test_a_service_is_called_in_metrics_as_everywhere() -> None:
    rendered = render(EVERY["multinode"])
    (endpoint,) = rendered.find("ServiceMonitor")["spec"]["endpoints"]
    label = "app.kubernetes.io/component"
    services = {item["metadata"]["labels"].get(label) for item in rendered.of("Service")} - {None, "broker"}
    assert {"env-alfworld", "learner"} <= services
    seen = [
        relabelled(
            endpoint["relabelings"],
            {"__meta_kubernetes_service_label_app_kubernetes_io_component": name, "__meta_kubernetes_pod_name": "pod"},
        )
        for name in services
    ]
    assert {labels["component"] for labels in seen} == {spec.name for spec in SERVICES}
    assert {labels["process"] for labels in seen} == {"pod"}


def test_alerts_and_dashboards_are_those_of_the_repository() -> None:
    rendered = render(EVERY["multinode"])
    alerts = [
        rule for item in rendered.of("PrometheusRule") for group in item["spec"]["groups"] for rule in group["rules"]
    ]
    source = (CHART.parent / "prometheus/alerts").glob("*.yml")
    expected = [
        rule
        for path in sorted(source)
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]
    assert sorted(alert["alert"] for alert in alerts) == sorted(rule["alert"] for rule in expected)
    boards = {name: text for item in boards_of(rendered) for name, text in item["data"].items()}
    assert boards == {
        path.name: path.read_text().rstrip("\n") for path in CHART.parent.glob("grafana/dashboards/*.json")
    }


def annotations_of(rendered: Rendered) -> dict[str, dict[str, str]]:
    groups = [group for item in rendered.of("PrometheusRule") for group in item["spec"]["groups"]]
    return {rule["alert"]: rule["annotations"] for group in groups for rule in group["rules"]}


def test_an_alert_says_what_to_do_where_no_page_can_be_reached() -> None:
    found = annotations_of(render(EVERY["locked-down"]))
    assert len(found) >= 30
    for name, annotations in found.items():
        assert len(annotations["runbook"]) > 100, name
        assert not set(annotations["runbook"]) & set("*`\n"), f"{name}: markup a pager would show"
        assert "runbook_url" not in annotations, f"{name}: a link into a repository leads nowhere"
    assert found["HiperDeadLetters"]["runbook"].startswith("Entries nobody could process. hiper dlq list tells why")


def test_an_alert_links_to_the_page_that_is_published() -> None:
    page = "https://docs.example.com/hiper/operations"
    rendered = render({"metrics": {"prometheusRule": {"enabled": True, "runbookUrl": page}}})
    headings = re.findall(r"(?m)^### (Hiper\w+)$", (CHART.parents[1] / "docs/operations.md").read_text())
    links = {name: annotations["runbook_url"] for name, annotations in annotations_of(rendered).items()}
    assert links == {name: f"{page}#{name.lower()}" for name in headings}


def boards_of(rendered: Rendered) -> list[dict[str, Any]]:
    return [item for item in rendered.of("ConfigMap") if "grafana_dashboard" in item["metadata"]["labels"]]


def test_dashboards_are_found_by_grafana() -> None:
    rendered = render(EVERY["locked-down"])
    for item in boards_of(rendered):
        assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert item["metadata"]["annotations"]["grafana_folder"] == "HiPER"
        assert item["metadata"]["namespace"] == "monitoring"
    assert boards_of(rendered)
    assert boards_of(render()) == []


def test_control_sees_workloads_and_changes_the_size_of_four_of_them() -> None:
    rules = render().find("Role", "control")["rules"]
    changes = [rule for rule in rules if set(rule["verbs"]) - {"get", "list", "watch"}]
    assert [rule["resources"] for rule in changes] == [["deployments/scale"]]
    assert changes[0]["resourceNames"] == [
        f"demo-hiper-{name}" for name in ("env-alfworld", "hae", "reward", "rollout")
    ]
    assert not any("secrets" in rule["resources"] for rule in rules)


def test_only_control_holds_a_token_of_kubernetes() -> None:
    holders = {found.component for found in render().pods if found.spec["automountServiceAccountToken"]}
    assert holders == {"control"}


def test_accounts_of_ones_own() -> None:
    rendered = render(EVERY["locked-down"])
    assert rendered.of("ServiceAccount") == rendered.of("Role") == rendered.of("RoleBinding") == []
    assert {found.spec["serviceAccountName"] for found in rendered.pods} == {"workloads"}


def test_control_serves_its_api_with_a_token_from_a_file() -> None:
    rendered = render(values_at("secrets.control.key", "bearer"))
    control = rendered.pod("control")
    assert control.variables["HIPER_CONTROL_ADDRESS"] == "0.0.0.0:8090"
    assert control.variables["HIPER_CONTROL_TOKEN_FILE"] == "/etc/hiper/control/bearer"
    assert control.volume("control-token")["secret"] == {"secretName": "demo-hiper-control-token", "defaultMode": 0o440}
    assert set(rendered.find("Secret", "control-token")["data"]) == {"bearer"}
    assert {"name": "api", "port": 8090, "targetPort": "api"} in rendered.find("Service", "control")["spec"]["ports"]


def test_control_logs_in_as_the_operator_and_reads_the_run() -> None:
    control = render().pod("control")
    assert control.variables["HIPER_BROKER__URL"].startswith("redis://operator@")
    assert control.mounts["/var/lib/hiper/run"]["readOnly"] is True


def test_control_does_not_wait_for_a_volume_it_cannot_have() -> None:
    """One node at a time may mount it, and the learner does."""
    assert "/var/lib/hiper/run" not in render(EVERY["http-weights"]).pod("control").mounts
