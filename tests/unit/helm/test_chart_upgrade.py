"""An upgrade never touches what Kubernetes lets nobody change.

`immutable.json` holds these fields of every version that was released, with the values they were rendered from; a
version that changes one cannot be upgraded to, and its users would have to delete what holds their runs.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from chart_render import EVERY, Rendered, component_of, merged, render, values_at

RELEASED = json.loads((Path(__file__).parent / "immutable.json").read_text())


def immutable(rendered: Rendered) -> dict[str, Any]:
    """The fields that cannot be changed, by object."""
    found: dict[str, Any] = {}
    for item in rendered.objects:
        key, spec = f"{item['kind']}/{item['metadata']['name']}", item.get("spec", {})
        if item["kind"] == "Deployment":
            found[key] = spec["selector"]
        elif item["kind"] == "StatefulSet":
            names = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")
            found[key] = {name: spec.get(name) for name in names}
        elif item["kind"] == "PersistentVolumeClaim":
            found[key] = spec
        elif item["kind"] == "Service":
            found[key] = spec.get("clusterIP")
        elif item["kind"] == "RoleBinding":
            found[key] = item["roleRef"]
        elif item["kind"] == "Secret":
            found[key] = item["type"]
    return found


@pytest.mark.parametrize(("version", "name"), [(version, name) for version in RELEASED for name in RELEASED[version]])
def test_a_released_version_can_be_upgraded(version: str, name: str) -> None:
    then, now = RELEASED[version][name]["fields"], immutable(render(RELEASED[version][name]["values"]))
    kept = then.keys() & now.keys()
    assert {key: now[key] for key in kept} == {key: then[key] for key in kept}
    gone = {key for key in then.keys() - now.keys() if key.startswith(("StatefulSet/", "PersistentVolumeClaim/"))}
    assert gone == set(), "what holds a run's state is not renamed"


CHANGES: dict[str, dict[str, Any]] = {
    "image.tag": values_at("image.tag", "9.9.9"),
    "podLabels": values_at("podDefaults.podLabels", {"queue": "a"}),
    "commonLabels": values_at("commonLabels", {"team": "b"}),
    "commonAnnotations": values_at("commonAnnotations", {"owner": "b"}),
    "replicaCount": values_at("rollout.replicaCount", 5),
    "resources": values_at("broker.resources.limits.memory", "4Gi"),
    "broker image": values_at("broker.image.tag", "9.0.0"),
    "appendfsync": values_at("broker.appendfsync", "everysec"),
    "config": values_at("config.learner.iterations", 3),
    "run": values_at("config.run", "another"),
    "recipe": {"recipe": "", "config": {"model": {"path": "Qwen/Qwen2.5-0.5B-Instruct"}}},
    "learner gpu": values_at("learner.gpu.count", 1),
    "node selector": values_at("learner.nodeSelector", {"gpu": "h100"}),
    "another family": values_at("env.webshop.enabled", True),
    "autoscaling": values_at("reward.autoscaling.enabled", True),
    "monitors": values_at("metrics.serviceMonitor.enabled", True),
    "no policies": values_at("networkPolicy.enabled", False),
    "tls": {"tls": {"enabled": True, "existingSecret": "tls"}},
    "grace": values_at("learner.terminationGracePeriodSeconds", 900),
}


@pytest.mark.parametrize("change", CHANGES)
def test_values_can_be_changed_under_a_running_release(change: str) -> None:
    before, after = immutable(render()), immutable(render(CHANGES[change]))
    assert {key: after.get(key) for key in before} == before


def test_a_new_version_of_the_chart_shows_in_labels_but_not_in_selectors() -> None:
    for item in (*render().of("Deployment"), *render().of("StatefulSet")):
        selector = item["spec"]["selector"]["matchLabels"]
        assert set(selector) == {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component")}
        for claim in item["spec"].get("volumeClaimTemplates", []):
            assert claim["metadata"]["labels"] == selector


ROLLS = {
    "config.learner.iterations": (3, {"learner", "rollout", "reward", "hae", "control"}),
    "config.env.max_steps": (9, {"learner", "rollout", "reward", "hae", "control", "env-alfworld"}),
    "env.alfworld.settings": ({"max_sessions": 9}, {"env-alfworld"}),
    "broker.appendfsync": ("everysec", {"broker"}),
}


@pytest.mark.parametrize("path", ROLLS)
def test_a_change_of_settings_replaces_the_pods_it_concerns_and_no_others(path: str) -> None:
    value, concerned = ROLLS[path]

    def templates(rendered: Rendered) -> dict[str, Any]:
        kinds = (*rendered.of("Deployment"), *rendered.of("StatefulSet"))
        return {component_of(item): item["spec"]["template"] for item in kinds}

    before, after = templates(render()), templates(render(values_at(path, value)))
    assert {component for component in before if before[component] != after[component]} == concerned


def test_generated_passwords_are_kept_by_upgrades_and_claims_by_uninstalls() -> None:
    claim = render().find("PersistentVolumeClaim", "run")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    broker = render().find("StatefulSet", "broker")["spec"]
    assert broker["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    template = (Path(__file__).resolve().parents[3] / "deploy/helm/templates/_secrets.tpl").read_text()
    assert 'lookup "v1" "Secret"' in template, "the engine has no cluster here, so the look-up itself is only read"


def test_gpus_are_not_asked_for_twice_while_rollouts_are_replaced() -> None:
    strategy = render(merged(EVERY["gpu-8"])).find("Deployment", "rollout")["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
