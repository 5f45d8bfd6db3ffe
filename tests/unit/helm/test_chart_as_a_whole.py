"""Every shipped set of values renders, lints, is valid to Kubernetes and to the program, and may run where pods are
restricted."""

import re
from pathlib import Path

import pytest
import yaml
from chart_render import CHART, EVERY, ROOT, helm, render
from kubernetes_schemas import CUSTOM, VERSIONS, faults
from pod_security import violations

from hiper import __version__
from hiper.config import parse_config

EDGES = ("1.27.0", VERSIONS[-1])
every = pytest.mark.parametrize("name", EVERY)


@every
def test_it_lints_without_a_warning(name: str) -> None:
    report = helm.lint(CHART, EVERY[name], strict=True, namespace="ml", kube_version="v1.30.0")
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


@every
@pytest.mark.parametrize("version", EDGES)
def test_kubernetes_takes_every_object(name: str, version: str) -> None:
    found = [
        fault for item in render(EVERY[name]).objects if item["kind"] not in CUSTOM for fault in faults(item, version)
    ]
    assert found == []


@pytest.mark.parametrize("version", [version for version in VERSIONS if version not in EDGES and version > "1.27"])
def test_every_version_since_the_oldest_takes_the_defaults(version: str) -> None:
    assert [fault for item in render().objects for fault in faults(item, version)] == []


@every
def test_the_run_file_is_one_the_program_takes(name: str) -> None:
    rendered = render(EVERY[name])
    config = parse_config(rendered.config, source=name, environment={})
    for file, text in rendered.find("ConfigMap", "config")["data"].items():
        assert parse_config(yaml.safe_load(text), source=file, environment={}).run == config.run


@every
def test_the_variables_of_every_pod_are_ones_the_program_knows(name: str) -> None:
    rendered = render(EVERY[name])
    for pod in rendered.pods:
        if "--config" in pod.main.get("args", []):
            file = Path(pod.main["args"][pod.main["args"].index("--config") + 1]).name
            tree = yaml.safe_load(rendered.find("ConfigMap", "config")["data"][file])
            given = {key: value for key, value in pod.variables.items() if isinstance(value, str)}
            given = {key: value.replace("$(POD_IP)", "10.0.0.7") for key, value in given.items()}
            parse_config(tree, source=pod.owner, environment=given)


@every
def test_a_namespace_that_enforces_the_restricted_profile_takes_every_pod(name: str) -> None:
    """Pods with GPUs among them: they differ in resources, /dev/shm and tolerations only."""
    assert {pod.owner: violations(pod.spec) for pod in render(EVERY[name]).pods if violations(pod.spec)} == {}


@every
def test_names_and_labels_fit(name: str) -> None:
    for item in render(EVERY[name]).objects:
        metadata = item["metadata"]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", metadata["name"])
        labels = metadata["labels"]
        assert {"name", "instance", "version", "part-of", "managed-by"} <= {
            key.removeprefix("app.kubernetes.io/") for key in labels
        }
        assert labels["helm.sh/chart"] == f"hiper-{yaml.safe_load((CHART / 'Chart.yaml').read_text())['version']}"
        assert all(len(str(value)) <= 63 for value in labels.values())


@every
def test_no_two_objects_share_a_name(name: str) -> None:
    keys = [
        (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        for item in render(EVERY[name]).objects
    ]
    assert len(keys) == len(set(keys))


@every
def test_every_image_names_a_version(name: str) -> None:
    for pod in render(EVERY[name]).pods:
        for container in pod.containers:
            assert re.search(r":v?\d+\.\d+\.\d+", container["image"])


@every
def test_no_password_is_outside_of_a_secret(name: str) -> None:
    rendered = render(EVERY[name])
    secrets = [value for item in rendered.of("Secret") for value in item["data"].values()]
    rest = str([item for item in rendered.objects if item["kind"] != "Secret"]) + rendered.notes
    assert not any(secret in rest for secret in secrets)
    assert not re.search(r"://[^/@]*:[^/@]*@", rest)


@every
def test_secrets_are_files(name: str) -> None:
    """A variable is seen by every child of the process, and in what describes the pod."""
    for pod in render(EVERY[name]).pods:
        for container in pod.containers:
            assert "envFrom" not in container
            assert not any("secretKeyRef" in item.get("valueFrom", {}) for item in container.get("env", []))


@every
def test_every_claim_secret_and_configmap_a_pod_mounts_is_made_or_given(name: str) -> None:
    rendered = render(EVERY[name])
    given = set(re.findall(r"(?:existingClaim|existingSecret|caSecret): ([\w-]+)", yaml.safe_dump(EVERY[name])))
    given |= {item["spec"]["secretName"] for item in rendered.of("Certificate")}
    kinds = {"configMap": "ConfigMap", "secret": "Secret", "persistentVolumeClaim": "PersistentVolumeClaim"}
    for pod in rendered.pods:
        for volume in pod.spec["volumes"]:
            for source, kind in kinds.items():
                if source in volume:
                    wanted = next(
                        volume[source][key] for key in ("name", "secretName", "claimName") if key in volume[source]
                    )
                    assert wanted in given | set(rendered.names(kind))


@every
def test_every_mount_has_its_volume_and_the_other_way_round(name: str) -> None:
    for pod in render(EVERY[name]).pods:
        mounted = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", [])}
        volumes = {volume["name"] for volume in pod.spec["volumes"]}
        claims = {"data"} if pod.component == "broker" else set()
        assert mounted - claims == volumes - claims


@every
def test_selectors_find_the_pods_they_are_for(name: str) -> None:
    rendered = render(EVERY[name])
    labels = [pod.metadata["labels"] for pod in rendered.pods]

    def matches(selector: dict[str, str]) -> bool:
        return any(selector.items() <= found.items() for found in labels)

    for item in rendered.of("Service"):
        selector = dict(item["spec"]["selector"])
        first = selector.pop("statefulset.kubernetes.io/pod-name", None)
        assert matches(selector)
        assert first is None or first.removesuffix("-0") in rendered.names("StatefulSet")
    for item in (*rendered.of("PodDisruptionBudget"), *rendered.of("Deployment"), *rendered.of("StatefulSet")):
        assert matches(item["spec"]["selector"]["matchLabels"])


@every
def test_memory_is_limited_and_asked_for_everywhere(name: str) -> None:
    for pod in render(EVERY[name]).pods:
        for container in pod.containers:
            assert "memory" in container["resources"]["limits"]
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()


def test_the_chart_is_of_this_version_of_the_program() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__


def test_a_packaged_chart_renders_the_same(tmp_path: Path) -> None:
    """What .helmignore leaves out is not needed."""
    archive = helm.package(CHART, destination=tmp_path)
    with helm.Chart.load(archive) as packed:
        texts = packed.render({}, name="demo", namespace="ml")
    assert yaml.safe_load(texts["hiper/templates/configmap.yaml"]) == render().find("ConfigMap", "config")


def test_the_engine_is_the_pinned_one() -> None:
    constraints = (ROOT / "requirements/constraints.txt").read_text()
    assert f"helm-python-sdk=={helm.__version__}" in constraints
