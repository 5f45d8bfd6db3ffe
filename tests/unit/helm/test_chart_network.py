"""Who may reach whom: the policies name the flows of the design, and a pod has no other."""

import pytest
from chart_render import EVERY, Rendered, Tree, render, values_at

GRPC, HTTP = "grpc", "http"
FLOWS = {
    ("rollout", "broker"), ("reward", "broker"), ("hae", "broker"), ("learner", "broker"), ("control", "broker"),
    ("rollout", "env-alfworld"), ("learner", "env-alfworld"), ("hae", "learner"),
}  # fmt: skip
COMPONENTS = ("rollout", "reward", "hae", "learner", "control", "broker", "env-alfworld")
pairs = pytest.mark.parametrize(
    ("caller", "server"), [(caller, server) for caller in COMPONENTS for server in COMPONENTS if caller != server]
)
DATA_PORTS = {"broker": ("broker", 6379)}


def policy(rendered: Rendered, component: str) -> Tree:
    return rendered.find("NetworkPolicy", component)["spec"]


def peers(rule: Tree, side: str) -> set[str]:
    selectors = [peer["podSelector"]["matchLabels"] for peer in rule.get(side, []) if "podSelector" in peer]
    assert all(selector["app.kubernetes.io/instance"] == "demo" for selector in selectors)
    return {selector.get("app.kubernetes.io/component", "*") for selector in selectors}


def takes(rendered: Rendered, server: str, caller: str, port: str) -> bool:
    rules = [rule for rule in policy(rendered, server)["ingress"] if rule["ports"][0]["port"] == port]
    return any(caller in peers(rule, "from") for rule in rules)


def may_call(rendered: Rendered, caller: str, server: str, port: int) -> bool:
    for rule in policy(rendered, caller)["egress"]:
        ports = {entry["port"] for entry in rule.get("ports", [])}
        if peers(rule, "to") & {server, "*"} and (not ports or port in ports):
            return True
    return False


@pairs
def test_a_data_port_is_open_to_those_who_need_it_and_nobody_else(caller: str, server: str) -> None:
    name, number = DATA_PORTS.get(server, (GRPC, 50051))
    needed = (caller, server) in FLOWS
    assert takes(render(), server, caller, name) == needed
    # Control may ask every pod for its health; what it may not call does not take its calls.
    assert may_call(render(), caller, server, number) == (needed or caller == "control")


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_policy_closes_both_directions(component: str) -> None:
    assert policy(render(), component)["policyTypes"] == ["Ingress", "Egress"]


def test_what_no_policy_names_is_denied_but_names() -> None:
    default = policy(render(), "default")
    assert default["podSelector"]["matchLabels"] == {
        "app.kubernetes.io/name": "hiper",
        "app.kubernetes.io/instance": "demo",
    }
    assert "ingress" not in default
    assert default["egress"] == [{"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}]


@pytest.mark.parametrize("component", ["rollout", "learner"])
def test_model_downloads_can_be_switched_off(component: str) -> None:
    open_ports = {"ports": [{"protocol": "TCP", "port": 443}]}
    assert open_ports in policy(render(), component)["egress"]
    closed = render(values_at("networkPolicy.allowModelDownload", False))
    assert open_ports not in policy(closed, component)["egress"]


@pytest.mark.parametrize("component", ["reward", "hae", "env-alfworld", "broker"])
def test_a_cpu_service_reaches_nothing_outside(component: str) -> None:
    assert all("to" in rule for rule in policy(render(), component)["egress"])


def test_an_external_broker_is_reached_at_its_port() -> None:
    for component in ("rollout", "reward", "hae", "learner", "control"):
        rules = policy(render(EVERY["external-broker-tls"]), component)["egress"]
        assert {"ports": [{"protocol": "TCP", "port": 6380}]} in rules


@pytest.mark.parametrize("component", ["rollout", "reward", "hae", "learner", "control", "env-alfworld"])
def test_the_monitoring_namespace_may_scrape(component: str) -> None:
    rendered = render(values_at("networkPolicy.monitoringNamespaceSelector", {"team": "observability"}))
    scrape = {
        "from": [{"namespaceSelector": {"matchLabels": {"team": "observability"}}}],
        "ports": [{"protocol": "TCP", "port": HTTP}],
    }
    assert scrape in policy(rendered, component)["ingress"]
    assert scrape not in policy(render(), component)["ingress"]


def test_the_broker_takes_nobody_from_outside() -> None:
    rendered = render(values_at("networkPolicy.monitoringNamespaceSelector", {"team": "observability"}))
    (rule,) = policy(rendered, "broker")["ingress"]
    assert peers(rule, "from") == {"rollout", "reward", "hae", "learner", "control", "test"}


def test_control_can_be_opened() -> None:
    anybody = {"ports": [{"protocol": "TCP", "port": "api"}]}
    assert anybody not in policy(render(), "control")["ingress"]
    assert anybody in policy(render(values_at("networkPolicy.allowExternal", True)), "control")["ingress"]


def test_the_tests_reach_every_health_port() -> None:
    for component in COMPONENTS[:5]:
        rules = [rule for rule in policy(render(), component)["ingress"] if rule["ports"][0]["port"] == HTTP]
        assert any("test" in peers(rule, "from") for rule in rules)


def test_own_rules_are_added() -> None:
    egress = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"protocol": "TCP", "port": 4317}]}
    ingress = {"from": [{"podSelector": {}}]}
    rendered = render({"networkPolicy": {"extraEgress": [egress], "extraIngress": [ingress]}})
    assert egress in policy(rendered, "default")["egress"]
    assert policy(rendered, "default")["ingress"] == [ingress]


def test_they_can_be_left_out_and_are_missed() -> None:
    rendered = render(values_at("networkPolicy.enabled", False))
    assert rendered.of("NetworkPolicy") == []
    assert "WARNING: no NetworkPolicy" in rendered.notes


def test_a_second_family_is_not_called_by_a_run_that_plays_the_first() -> None:
    rendered = render(values_at("env.webshop.enabled", True))
    callers = {peer for rule in policy(rendered, "rollout")["egress"] for peer in peers(rule, "to")}
    assert callers == {"broker", "env-alfworld"}


@pytest.mark.parametrize(
    ("endpoint", "port"), [("http://collector.tracing:4318", 4318), ("https://traces.example.com:443/otlp", 443)]
)
def test_traces_leave_by_the_port_of_their_collector(endpoint: str, port: int) -> None:
    """From every pod, since a trace has spans of every service."""
    out = {"ports": [{"protocol": "TCP", "port": port}]}
    assert out in policy(render(values_at("tracing.endpoint", endpoint)), "default")["egress"]
    assert out not in policy(render(), "default")["egress"]


def test_traces_reach_the_namespace_of_their_collector_and_no_other() -> None:
    labels = {"kubernetes.io/metadata.name": "tracing"}
    values = {
        "tracing": {"endpoint": "http://collector.tracing:4317"},
        "networkPolicy": {"tracingNamespaceSelector": labels},
    }
    (rule,) = [rule for rule in policy(render(values), "default")["egress"] if "to" in rule]
    assert rule["to"] == [{"namespaceSelector": {"matchLabels": labels}}]
    assert rule["ports"] == [{"protocol": "TCP", "port": 4317}]
