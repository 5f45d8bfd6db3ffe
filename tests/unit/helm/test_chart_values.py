"""Names, settings, secrets, storage, notes: each value has the effect its comment says."""

from typing import Any

import pytest
from chart_render import EVERY, render, values_at

LONG = "a-release-with-a-name-that-is-as-long-as-helm-allows1"


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("demo", {}, "demo-hiper-rollout"),
        ("hiper", {}, "hiper-rollout"),
        ("my-hiper", {}, "my-hiper-rollout"),
        ("demo", {"nameOverride": "rl"}, "demo-rl-rollout"),
        ("demo", {"fullnameOverride": "rl"}, "rl-rollout"),
        (LONG, {}, "a-release-with-a-name-that-is-as-long-as-hel-rollout"),
    ],
)
def test_names(release: str, values: dict[str, Any], name: str) -> None:
    assert name in render(values, release=release).names("Deployment")


def test_a_long_name_leaves_room_for_what_kubernetes_adds() -> None:
    """A pod of a StatefulSet carries its name and a hash of ten characters in one label of 63."""
    rendered = render({"env": {"a-family-of-its-own1": {"enabled": True}}}, release=LONG)
    names = [item["metadata"]["name"] for item in rendered.objects if item["kind"] != "ServiceAccount"]
    assert max(map(len, names)) <= 52
    assert len({(item["kind"], item["metadata"]["name"]) for item in rendered.objects}) == len(rendered.objects)


def test_labels_and_annotations_of_everything() -> None:
    rendered = render(EVERY["locked-down"])
    for item in rendered.objects:
        assert item["metadata"]["labels"]["team"] == "rl"
    assert rendered.find("Deployment", "hae")["metadata"]["annotations"]["owner"] == "rl@example.com"
    assert rendered.pod("hae").metadata["annotations"]["owner"] == "rl@example.com"


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("secrets.grpc.existingSecret", "grpc-token"),
        ("secrets.control.existingSecret", "control-token"),
        ("broker.existingSecret", "broker-users"),
    ],
)
def test_a_given_secret_is_used_and_none_is_made(given: str, made: str) -> None:
    assert made in render().components("Secret")
    rendered = render(values_at(given, "mine"))
    assert made not in rendered.components("Secret")
    assert "mine" in str([item for item in rendered.objects if item["kind"] in ("Deployment", "StatefulSet")])


def test_a_token_of_the_hub_is_a_file() -> None:
    rendered = render(values_at("secrets.huggingface", {"existingSecret": "hf", "key": "hub"}))
    for component in ("rollout", "learner"):
        found = rendered.pod(component)
        assert found.variables["HF_TOKEN_PATH"] == "/etc/hiper/huggingface/hub"
        assert found.volume("huggingface")["secret"]["secretName"] == "hf"
    assert "HF_TOKEN_PATH" not in rendered.pod("reward").variables


def test_settings_are_laid_over_the_recipe() -> None:
    config = render({"config": {"run": "mine", "learner": {"actor": {"lr": 1e-6}}}}).config
    assert config["run"] == "mine"
    assert float(config["learner"]["actor"]["lr"]) == 1e-6
    assert config["learner"]["actor"]["minibatch_rows"] == 512
    assert config["learner"]["when_done"] == "idle", "a StatefulSet would start a learner again for ever"
    exits = {"config": {"learner": {"when_done": "exit"}}}
    assert render(exits).config["learner"]["when_done"] == "exit"


def test_another_variant_than_the_recipes_starts_afresh() -> None:
    estimator = render({"config": {"hae": {"estimator": {"name": "gae", "lam": 0.9}}}}).config["hae"]["estimator"]
    assert estimator == {"name": "gae", "lam": 0.9}
    same = render({"config": {"hae": {"estimator": {"name": "hae", "lam_seg": 0.9}}}}).config["hae"]["estimator"]
    assert same["lam_seg"] == 0.9
    assert {"name", "lam_seg"} < set(same), "the recipe's other keys are kept"


@pytest.mark.parametrize("value", [1_234_567, 2**31 - 1, 0])
def test_large_numbers_stay_whole(value: int) -> None:
    """Helm holds numbers as floats; 1.234567e+06 would be no integer to the program."""
    assert render(values_at("config.seed", value)).config["seed"] == value


def test_without_a_recipe_the_program_has_its_own_defaults() -> None:
    assert render({"recipe": ""}).config == {
        "broker": {"allow_data_loss": False},
        "learner": {"when_done": "idle"},
    }


def test_settings_of_a_family_are_its_own() -> None:
    rendered = render({"env": {"alfworld": {"settings": {"max_sessions": 9}}, "webshop": {"enabled": True}}})
    files = rendered.find("ConfigMap", "config")["data"]
    assert "max_sessions: 9" in files["env-alfworld.yaml"]
    assert "max_sessions" not in files["run.yaml"] + files["env-webshop.yaml"]


def test_further_objects_may_use_the_release() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-a', labels: {}}"
    tree = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-b", "labels": {}}}
    names = render({"extraObjects": [text, tree]}).names("ConfigMap")
    assert {"demo-a", "demo-b"} <= set(names)


def test_helm_test_asks_everybody_and_is_cleaned_up() -> None:
    rendered = render()
    ready, trajectory = (found for found in rendered.pods if found.kind == "Pod")
    assert {container["name"] for container in ready.containers} == rendered.components("Service") - {"broker"}
    for found in (ready, trajectory):
        assert found.metadata["annotations"]["helm.sh/hook"] == "test"
        assert found.metadata["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        assert found.spec["restartPolicy"] == "Never"
    assert trajectory.variables["HIPER_BROKER__URL"].startswith("redis://observer@")
    assert not [found for found in render(values_at("test.enabled", False)).pods if found.kind == "Pod"]


@pytest.mark.parametrize(
    "line",
    [
        "helm test demo --namespace ml",
        "kubectl --namespace ml get pods",
        "port-forward service/demo-hiper-control 8090",
    ],
)
def test_the_notes_tell_the_next_command(line: str) -> None:
    assert line in render().notes


def test_the_notes_of_a_gpu_run_do_not_point_at_presets() -> None:
    assert "no GPU" in render().notes
    assert "no GPU" not in render(EVERY["gpu-8"]).notes


def test_storage_of_ones_own() -> None:
    rendered = render({"storage": {"run": {"existingClaim": "runs"}}, "global": {"storageClass": "fast"}})
    assert rendered.of("PersistentVolumeClaim") == []
    assert rendered.pod("learner").volume("run")["persistentVolumeClaim"]["claimName"] == "runs"
    (claim,) = rendered.find("StatefulSet", "broker")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast"


def test_a_storage_class_of_one_claim_wins() -> None:
    values = {"global": {"storageClass": "fast"}, "storage": {"run": {"storageClass": "shared", "size": "1Ti"}}}
    claim = render(values).find("PersistentVolumeClaim", "run")["spec"]
    assert claim["storageClassName"] == "shared"
    assert claim["resources"]["requests"]["storage"] == "1Ti"
