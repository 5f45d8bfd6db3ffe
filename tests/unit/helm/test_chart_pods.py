"""Values of a pod, for every component: each has the effect its comment says."""

from collections.abc import Callable
from typing import Any

import pytest
from chart_render import CHART, EVERY, Pod, merged, render, values_at

PODS = ("env-alfworld", "rollout", "reward", "hae", "learner", "control", "broker")


SERVICES = PODS[:-1]


pod = pytest.mark.parametrize("component", PODS)


service = pytest.mark.parametrize("component", SERVICES)


def of(component: str, key: str, value: object) -> dict[str, Any]:
    """Values that set `key` of one component."""
    family = component.removeprefix("env-")
    return values_at(f"env.{family}.{key}" if component.startswith("env-") else f"{component}.{key}", value)


def each(key: str, own: Callable[[str], object], components: tuple[str, ...] = SERVICES) -> dict[str, Any]:
    """Values that set `key` of every component to a value of its own: one render shows who got whose."""
    return merged(*(of(component, key, own(component)) for component in components))


PLACEMENT: dict[str, Callable[[str], object]] = {
    "nodeSelector": lambda whose: {"pool": whose},
    "tolerations": lambda whose: [{"key": whose, "operator": "Exists"}],
    "affinity": lambda whose: {"nodeAffinity": {"of": whose}},
    "priorityClassName": lambda whose: whose,
    "runtimeClassName": lambda whose: whose,
}


@pytest.mark.parametrize("key", PLACEMENT)
@pod
def test_where_a_pod_runs(component: str, key: str) -> None:
    rendered = render(each(key, PLACEMENT[key], PODS))
    assert rendered.pod(component).spec[key] == PLACEMENT[key](component)
    assert key not in render().pod(component).spec


@pytest.mark.parametrize("key", PLACEMENT)
def test_defaults_reach_every_pod(key: str) -> None:
    value = PLACEMENT[key]("all")
    rendered = render(values_at(f"podDefaults.{key}", value))
    assert all(found.spec[key] == value for found in rendered.pods)


@pod
def test_a_component_wins_over_the_defaults(component: str) -> None:
    """Those of the tests of `helm test` have no values of their own."""
    values = merged(values_at("podDefaults.nodeSelector", {"pool": "all"}), each("nodeSelector", place, PODS))
    rendered = render(values)
    assert rendered.pod(component).spec["nodeSelector"] == {"pool": component}
    assert {found.spec["nodeSelector"]["pool"] for found in rendered.pods if found.kind == "Pod"} == {"all"}


def place(component: str) -> dict[str, str]:
    return {"pool": component}


@pod
def test_labels_and_annotations_of_a_pod(component: str) -> None:
    values = merged(each("podLabels", place, PODS), each("podAnnotations", place, PODS))
    metadata = render(values).pod(component).metadata
    assert metadata["labels"]["pool"] == component
    assert metadata["annotations"]["pool"] == component


@pod
def test_how_long_a_pod_has_to_end(component: str) -> None:
    values = each("terminationGracePeriodSeconds", lambda whose: 700 + PODS.index(whose), PODS)
    assert render(values).pod(component).spec["terminationGracePeriodSeconds"] == 700 + PODS.index(component)


@pytest.mark.parametrize(
    ("component", "least"), [("rollout", 180), ("learner", 300), ("env-alfworld", 30), ("hae", 40)]
)
def test_a_pod_has_time_to_drain(component: str, least: int) -> None:
    assert render().pod(component).spec["terminationGracePeriodSeconds"] >= least


@pytest.mark.parametrize("component", ["env-alfworld", "hae", "learner", "control"])
def test_who_is_called_waits_for_its_callers_to_leave(component: str) -> None:
    assert "time.sleep(5)" in render().pod(component).main["lifecycle"]["preStop"]["exec"]["command"][2]
    assert "lifecycle" not in render(of(component, "preStopSeconds", 0)).pod(component).main


@pytest.mark.parametrize("component", ["rollout", "reward"])
def test_who_is_not_called_ends_at_once(component: str) -> None:
    assert "lifecycle" not in render().pod(component).main


@service
def test_an_image_of_ones_own(component: str) -> None:
    digest = "sha256:" + "0" * 64
    image = {"registry": "r.example.com", "tag": "2.0.0", "digest": digest, "pullPolicy": "Always"}
    main = render(each("image", lambda whose: {**image, "repository": whose})).pod(component).main
    assert main["image"] == f"r.example.com/{component}:2.0.0@{digest}"
    assert main["imagePullPolicy"] == "Always"


def test_torch_and_vllm_are_in_the_images_that_need_them_only() -> None:
    images = {found.component: found.main["image"] for found in render().pods if found.kind != "Pod"}
    assert images.pop("rollout") == "hiper-rollout:0.1.0"
    assert images.pop("learner") == "hiper-learner:0.1.0"
    assert images.pop("control") == "hiper-control:0.1.0"
    images.pop("broker")
    assert set(images.values()) == {"hiper:0.1.0"}


def test_one_registry_for_everything() -> None:
    rendered = render(EVERY["locked-down"])
    for found in rendered.pods:
        assert all(container["image"].startswith("registry.example.com/ml/") for container in found.containers)
        assert found.spec["imagePullSecrets"] == [{"name": "pull"}]


@service
def test_variables_mounts_and_containers_of_ones_own(component: str) -> None:
    extras = {
        "extraEnv": [{"name": "NCCL_DEBUG", "value": "INFO"}],
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
        "extraVolumes": [{"name": "scratch", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        "initContainers": [{"name": "first", "image": "busybox:1.37.0"}],
        "sidecars": [{"name": "beside", "image": "busybox:1.37.0"}],
    }
    found = render(merged(*(each(key, lambda _, value=value: value) for key, value in extras.items()))).pod(component)
    assert found.variables["NCCL_DEBUG"] == "INFO"
    assert found.main["envFrom"] == extras["extraEnvFrom"]
    assert found.mounts["/scratch"]["name"] == "scratch"
    assert found.volume("scratch")["emptyDir"] == {}
    assert "first" in [container["name"] for container in found.spec["initContainers"]]
    assert found.spec["containers"][-1]["name"] == "beside"


@service
def test_command_and_arguments_of_ones_own(component: str) -> None:
    values = merged(each("command", lambda _: ["sleep"]), each("args", lambda whose: [whose]))
    main = render(values).pod(component).main
    assert (main["command"], main["args"]) == (["sleep"], [component])


@service
def test_figures_of_a_probe_keep_its_handler(component: str) -> None:
    values = each("startupProbe", lambda _: {"failureThreshold": 270})
    probe = render(values).pod(component).main["startupProbe"]
    assert probe["failureThreshold"] == 270
    assert probe["httpGet"]["path"] == "/healthz"


@service
def test_a_handler_of_ones_own_replaces_it(component: str) -> None:
    values = each("livenessProbe", lambda whose: {"exec": {"command": [whose]}})
    probe = render(values).pod(component).main["livenessProbe"]
    assert probe["exec"] == {"command": [component]}
    assert "httpGet" not in probe


@pytest.mark.parametrize("component", ["rollout", "learner"])
def test_a_model_has_ten_minutes_to_load(component: str) -> None:
    probe = render().pod(component).main["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 600


@pytest.mark.parametrize("component", ["env-alfworld", "reward", "hae", "rollout", "learner", "control"])
def test_a_component_can_be_left_out(component: str) -> None:
    if component == "env-alfworld":
        values: dict[str, Any] = {"env": {"alfworld": {"enabled": False}, "other": {"name": "alfworld"}}}
    else:
        values = of(component, "enabled", False)
    rendered = render(values)
    kinds = ("Deployment", "StatefulSet", "Service", "PodDisruptionBudget")
    assert all(component not in rendered.components(kind) for kind in kinds)
    ready = next(found for found in rendered.pods if found.owner.endswith("test-ready"))
    assert component not in [container["name"] for container in ready.containers]


@pytest.mark.parametrize("component", ["rollout", "reward", "hae", "env-alfworld"])
def test_a_number_of_pods(component: str) -> None:
    scaled = ("rollout", "reward", "hae", "env-alfworld")
    rendered = render(each("replicaCount", lambda whose: 5 + scaled.index(whose), scaled))
    assert rendered.find("Deployment", component)["spec"]["replicas"] == 5 + scaled.index(component)


@pytest.mark.parametrize("component", ["rollout", "learner"])
def test_gpus(component: str) -> None:
    found = render(merged(of(component, "gpu.count", 1), of(component, "gpu.shmSize", "4Gi"))).pod(component)
    assert found.main["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert found.main["resources"]["limits"]["memory"] == "6Gi"
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in found.spec["tolerations"]
    assert found.mounts["/dev/shm"]["name"] == "shm"
    assert found.volume("shm")["emptyDir"] == {"medium": "Memory", "sizeLimit": "4Gi"}


def without_what_gpus_need(found: Pod) -> Any:
    spec = {key: value for key, value in found.spec.items() if key not in ("tolerations", "volumes")}
    main = dict(found.main)
    limits = {key: value for key, value in main["resources"]["limits"].items() if "/" not in key}
    main["resources"] = {**main["resources"], "limits": limits}
    main["volumeMounts"] = [mount for mount in main["volumeMounts"] if mount["name"] != "shm"]
    return {**spec, "containers": [main, *spec["containers"][1:]]}


@pytest.mark.parametrize("component", ["rollout", "learner"])
def test_pods_with_gpus_differ_in_gpus_shared_memory_and_tolerations_only(component: str) -> None:
    plain, gpu = render().pod(component), render(of(component, "gpu.count", 1)).pod(component)
    assert without_what_gpus_need(plain) == without_what_gpus_need(gpu)
    assert without_what_gpus_need(plain) != gpu.spec
    assert [volume for volume in gpu.spec["volumes"] if volume["name"] != "shm"] == plain.spec["volumes"]


def test_another_kind_of_gpu() -> None:
    values = {"rollout": {"gpu": {"count": 1, "resourceName": "amd.com/gpu"}}}
    found = render(values).pod("rollout")
    assert found.main["resources"]["limits"]["amd.com/gpu"] == 1
    assert found.spec["tolerations"][0]["key"] == "amd.com/gpu"


def test_pods_spread_by_their_own_labels() -> None:
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    (found,) = (
        render(of("rollout", "topologySpreadConstraints", [spread])).pod("rollout").spec["topologySpreadConstraints"]
    )
    assert found["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "rollout"
    assert found.items() >= spread.items()


@pytest.mark.parametrize("name", ["cpu", "rollout", "learner"])
def test_images_are_made_for_the_user_the_chart_runs_them_as(name: str) -> None:
    dockerfile = (CHART.parent / f"docker/{name}.Dockerfile").read_text()
    context = render().pod("rollout").spec["securityContext"]
    assert f"\nUSER {context['runAsUser']}:{context['runAsGroup']}\n" in dockerfile
    assert 'ENTRYPOINT ["hiper"]' in dockerfile
    assert f"--tag {'hiper' if name == 'cpu' else f'hiper-{name}'} ." in dockerfile


@pytest.mark.parametrize("preset", ["gpu-1", "gpu-8", "multinode"])
def test_gpu_presets_run_the_images_built_for_gpus(preset: str) -> None:
    rendered = render(EVERY[preset])
    for component in ("rollout", "learner"):
        assert rendered.pod(component).main["image"] == f"hiper-{component}-gpu:0.1.0"


@pytest.mark.parametrize(("component", "size"), [("env-alfworld", "6Gi"), ("reward", "2Gi"), ("rollout", "2Gi")])
def test_temporary_files_are_bounded(component: str, size: str) -> None:
    assert render().pod(component).volume("tmp")["emptyDir"] == {"sizeLimit": size}
    assert render(of(component, "tmpSize", "9Gi")).pod(component).volume("tmp")["emptyDir"] == {"sizeLimit": "9Gi"}


@pytest.mark.parametrize("component", ["env-alfworld", "reward", "hae", "control"])
def test_a_cpu_service_is_looked_at_every_second_until_it_is_up(component: str) -> None:
    """They are up within seconds; a slower look would make them ready later than they are."""
    probe = render().pod(component).main["startupProbe"]
    assert probe["periodSeconds"] == 1
    assert probe["failureThreshold"] >= 120
