"""What scales, by what, and what must not."""

import re
from typing import Any

import pytest
from chart_render import EVERY, RELEASE, merged, render, values_at

from hiper.metrics import CATALOGUE
from hiper.vocabulary import Stream

SCALABLE = ("env-alfworld", "rollout", "reward", "hae")
scalable = pytest.mark.parametrize("component", SCALABLE)


def query(component: str) -> str:
    (trigger,) = render(EVERY["keda"]).find("ScaledObject", component)["spec"]["triggers"]
    return str(trigger["metadata"]["query"])


@scalable
def test_nothing_scales_unless_asked(component: str) -> None:
    rendered = render()
    assert rendered.of("HorizontalPodAutoscaler") == []
    assert rendered.of("ScaledObject") == []
    assert rendered.find("Deployment", component)["spec"]["replicas"] == 1


@pytest.mark.parametrize("values", ["hpa", "keda"])
@scalable
def test_what_scales_has_no_number_of_its_own(component: str, values: str) -> None:
    """Or every upgrade would take pods away."""
    assert "replicas" not in render(EVERY[values]).find("Deployment", component)["spec"]


@pytest.mark.parametrize(("values", "kind"), [("hpa", "HorizontalPodAutoscaler"), ("keda", "ScaledObject")])
@scalable
def test_a_scaler_points_at_its_deployment(component: str, values: str, kind: str) -> None:
    target = render(EVERY[values]).find(kind, component)["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{RELEASE}-hiper-{component}"}


@pytest.mark.parametrize(("values", "kind"), [("hpa", "HorizontalPodAutoscaler"), ("keda", "ScaledObject")])
def test_the_single_ones_never_scale(values: str, kind: str) -> None:
    assert render(EVERY[values]).components(kind) == set(SCALABLE)


@pytest.mark.parametrize(
    ("component", "stream"), [("rollout", Stream.TASKS), ("reward", Stream.RAW), ("hae", Stream.SCORED)]
)
def test_a_component_follows_its_own_input(component: str, stream: Stream) -> None:
    """Rollouts are producers: scaled on what they put out, they would never stop."""
    assert f'stream="{stream}"' in query(component)
    assert query(component).count("stream=") == 1


def test_rollouts_follow_tasks_under_an_hpa_too() -> None:
    (metric,) = render(EVERY["hpa"]).find("HorizontalPodAutoscaler", "rollout")["spec"]["metrics"]
    assert metric["external"]["metric"] == {
        "name": "hiper_stream_length_entries",
        "selector": {"matchLabels": {"stream": Stream.TASKS.value, "run": "demo"}},
    }
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "128"}


def test_a_rollout_is_good_for_as_many_tasks_as_it_plays_at_once() -> None:
    values = merged(EVERY["keda"], values_at("config.rollout.concurrent_episodes", 48))
    (trigger,) = render(values).find("ScaledObject", "rollout")["spec"]["triggers"]
    assert trigger["metadata"]["threshold"] == "48"


@pytest.mark.parametrize("component", ["env-alfworld", "reward", "hae"])
def test_cpu_services_follow_their_cpu_under_an_hpa(component: str) -> None:
    (metric,) = render(EVERY["hpa"]).find("HorizontalPodAutoscaler", component)["spec"]["metrics"]
    assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    assert "cpu" in render(EVERY["hpa"]).pod(component).main["resources"]["requests"], "a share of nothing is nothing"


def test_env_servers_follow_their_sessions() -> None:
    assert query("env-alfworld") == 'sum(hiper_env_sessions{namespace="ml",run="demo",env="alfworld"})'


@scalable
def test_a_query_names_a_metric_there_is_and_its_labels(component: str) -> None:
    name, labels = re.fullmatch(r"(?:max|sum)\(hiper_(\w+)\{(.*)\}\)", query(component)).groups()  # type: ignore[union-attr]
    added_by_the_monitor = {"namespace", "run", "component"}
    assert set(re.findall(r"(\w+)=", labels)) <= {*CATALOGUE[name].labels, *added_by_the_monitor}
    assert 'namespace="ml"' in labels, "another release's load is no reason to scale"


@scalable
def test_scaling_down_waits(component: str) -> None:
    hpa = render(EVERY["hpa"]).find("HorizontalPodAutoscaler", component)["spec"]
    assert hpa["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 600
    keda = render(EVERY["keda"]).find("ScaledObject", component)["spec"]
    inner = keda["advanced"]["horizontalPodAutoscalerConfig"]
    assert inner["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 600


@scalable
def test_a_prometheus_that_is_away_takes_no_pods_to_zero(component: str) -> None:
    assert render(EVERY["keda"]).find("ScaledObject", component)["spec"]["fallback"]["replicas"] >= 1


@pytest.mark.parametrize(("component", "least"), [("rollout", 0), ("reward", 0), ("hae", 1), ("env-alfworld", 1)])
def test_keda_reaches_zero_where_nothing_waits_for_the_pods(component: str, least: int) -> None:
    assert render(EVERY["keda"]).find("ScaledObject", component)["spec"]["minReplicaCount"] == least


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("query", "sum(my_metric)", "query"),
        ("threshold", "7", "threshold"),
        ("threshold", 7, "threshold"),
    ],
)
def test_query_and_threshold_can_be_ones_own(path: str, value: object, where: str) -> None:
    values = merged(EVERY["keda"], values_at(f"reward.autoscaling.{path}", value))
    (trigger,) = render(values).find("ScaledObject", "reward")["spec"]["triggers"]
    assert trigger["metadata"][where] == str(value)


def test_metrics_of_an_hpa_can_be_ones_own() -> None:
    own: list[dict[str, Any]] = [
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization"}}}
    ]
    values = {"hae": {"autoscaling": {"enabled": True, "metrics": own}}}
    assert render(values).find("HorizontalPodAutoscaler", "hae")["spec"]["metrics"] == own


def test_one_family_may_scale_and_another_not() -> None:
    rendered = render(
        {"env": {"alfworld": {"autoscaling": {"enabled": True}}, "webshop": {"enabled": True, "replicaCount": 3}}}
    )
    assert rendered.components("HorizontalPodAutoscaler") == {"env-alfworld"}
    assert rendered.find("Deployment", "env-webshop")["spec"]["replicas"] == 3


@pytest.mark.parametrize("component", ["broker", "control", "env-alfworld"])
def test_evictions_are_limited_where_they_hurt(component: str) -> None:
    assert render().find("PodDisruptionBudget", component)["spec"]["maxUnavailable"] == 1


def test_the_learner_has_no_budget_that_would_block_its_node() -> None:
    values = {"podDefaults": {"podDisruptionBudget": {"enabled": True}}}
    assert "learner" not in render(values).components("PodDisruptionBudget")


def test_a_run_that_is_named_by_a_number_stays_a_name() -> None:
    values = merged(EVERY["hpa"], values_at("config.run", "2026"))
    (metric,) = render(values).find("HorizontalPodAutoscaler", "rollout")["spec"]["metrics"]
    assert metric["external"]["metric"]["selector"]["matchLabels"]["run"] == "2026"
    assert render(values).config["run"] == "2026"
