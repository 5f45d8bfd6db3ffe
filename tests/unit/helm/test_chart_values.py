"""Every value has the effect its comment says."""

import subprocess
import sys
from functools import partial
from typing import Any

import pytest
from chart_render import CHART, EVERY, Pod, Rendered, merged, render, values_at

PODS = ("env-alfworld", "rollout", "reward", "hae", "learner", "control", "broker")
SERVICES = PODS[:-1]
pod = pytest.mark.parametrize("component", PODS)
service = pytest.mark.parametrize("component", SERVICES)


def of(component: str, key: str, value: object) -> dict[str, Any]:
    """Values that set `key` of one component."""
    family = component.removeprefix("env-")
    return values_at(f"env.{family}.{key}" if component.startswith("env-") else f"{component}.{key}", value)


PLACEMENT = {
    "nodeSelector": ({"pool": "a"}, "nodeSelector"),
    "tolerations": ([{"key": "spot", "operator": "Exists"}], "tolerations"),
    "affinity": ({"nodeAffinity": {}}, "affinity"),
    "priorityClassName": ("high", "priorityClassName"),
    "runtimeClassName": ("nvidia", "runtimeClassName"),
}


@pytest.mark.parametrize("key", PLACEMENT)
@pod
def test_where_a_pod_runs(component: str, key: str) -> None:
    value, field = PLACEMENT[key]
    assert render(of(component, key, value)).pod(component).spec[field] == value
    assert field not in render().pod(component).spec


@pytest.mark.parametrize("key", PLACEMENT)
def test_defaults_reach_every_pod(key: str) -> None:
    value, field = PLACEMENT[key]
    rendered = render(values_at(f"podDefaults.{key}", value))
    assert all(found.spec[field] == value for found in rendered.pods)


@pod
def test_a_component_wins_over_the_defaults(component: str) -> None:
    values = merged(
        values_at("podDefaults.nodeSelector", {"pool": "all"}), of(component, "nodeSelector", {"pool": "own"})
    )
    rendered = render(values)
    others = {found.component: found.spec["nodeSelector"]["pool"] for found in rendered.pods if found.kind != "Pod"}
    assert others.pop(component) == "own"
    assert set(others.values()) == {"all"}


@pod
def test_labels_and_annotations_of_a_pod(component: str) -> None:
    rendered = render(
        merged(of(component, "podLabels", {"queue": "a"}), of(component, "podAnnotations", {"note": "b"}))
    )
    metadata = rendered.pod(component).metadata
    assert metadata["labels"]["queue"] == "a"
    assert metadata["annotations"]["note"] == "b"


@pod
def test_how_long_a_pod_has_to_end(component: str) -> None:
    assert (
        render(of(component, "terminationGracePeriodSeconds", 700)).pod(component).spec["terminationGracePeriodSeconds"]
        == 700
    )


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
    image = {
        "registry": "r.example.com",
        "repository": "mine",
        "tag": "2.0.0",
        "digest": digest,
        "pullPolicy": "Always",
    }
    main = render(of(component, "image", image)).pod(component).main
    assert main["image"] == f"r.example.com/mine:2.0.0@{digest}"
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
    found = render(merged(*(of(component, key, value) for key, value in extras.items()))).pod(component)
    assert found.variables["NCCL_DEBUG"] == "INFO"
    assert found.main["envFrom"] == extras["extraEnvFrom"]
    assert found.mounts["/scratch"]["name"] == "scratch"
    assert found.volume("scratch")["emptyDir"] == {}
    assert "first" in [container["name"] for container in found.spec["initContainers"]]
    assert found.spec["containers"][-1]["name"] == "beside"


@service
def test_command_and_arguments_of_ones_own(component: str) -> None:
    main = render(merged(of(component, "command", ["sleep"]), of(component, "args", ["1d"]))).pod(component).main
    assert (main["command"], main["args"]) == (["sleep"], ["1d"])


@service
def test_figures_of_a_probe_keep_its_handler(component: str) -> None:
    probe = render(of(component, "startupProbe", {"failureThreshold": 270})).pod(component).main["startupProbe"]
    assert probe["failureThreshold"] == 270
    assert probe["httpGet"]["path"] == "/healthz"


@service
def test_a_handler_of_ones_own_replaces_it(component: str) -> None:
    probe = render(of(component, "livenessProbe", {"exec": {"command": ["true"]}})).pod(component).main["livenessProbe"]
    assert probe["exec"] == {"command": ["true"]}
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
    assert render(of(component, "replicaCount", 5)).find("Deployment", component)["spec"]["replicas"] == 5


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


def test_models_that_were_downloaded_before() -> None:
    rendered = render(merged(EVERY["gpu-8"], values_at("storage.models.existingClaim", "models")))
    for component in ("rollout", "learner"):
        assert rendered.pod(component).mounts["/models"]["readOnly"] is True


def test_real_games_reach_the_env_servers_and_the_run_file() -> None:
    data = {"existingClaim": "games", "mountPath": "/games", "path": "json_2.1.1"}
    rendered = render(merged(EVERY["gpu-8"], values_at("env.alfworld.data", data)))
    assert rendered.config["env"]["data"] == "/games/json_2.1.1"
    assert rendered.pod("env-alfworld").mounts["/games"]["readOnly"] is True
    assert "/games" not in rendered.pod("learner").mounts, "it asks the env servers"


def test_a_warm_start_on_real_games_sees_them() -> None:
    rendered = render(values_at("env.alfworld.data", {"existingClaim": "games"}))
    (warmstart,) = rendered.pod("learner").spec["initContainers"]
    assert {"name": "data", "mountPath": "/data", "readOnly": True} in warmstart["volumeMounts"]


def test_a_tiny_model_is_made_by_the_learner_and_waited_for_by_rollouts() -> None:
    rendered = render()
    (make,) = rendered.pod("learner").spec["initContainers"]
    (wait,) = rendered.pod("rollout").spec["initContainers"]
    assert make["args"][-1] == rendered.config["model"]["path"]
    assert f"{rendered.config['model']['path']}/warmstart.json" in wait["args"][0]
    compile(wait["args"][0], "wait-for-model", "exec")


def test_a_named_model_is_neither_made_nor_waited_for() -> None:
    rendered = render(EVERY["gpu-8"])
    assert rendered.config["model"]["path"] == "Qwen/Qwen2.5-1.5B-Instruct"
    for component in ("learner", "rollout"):
        assert "initContainers" not in rendered.pod(component).spec


def test_settings_are_laid_over_the_recipe() -> None:
    config = render({"config": {"run": "mine", "learner": {"actor": {"lr": 1e-6}}}}).config
    assert config["run"] == "mine"
    assert float(config["learner"]["actor"]["lr"]) == 1e-6
    assert config["learner"]["actor"]["minibatch_rows"] == 512


@pytest.mark.parametrize("value", [1_234_567, 2**31 - 1, 0])
def test_large_numbers_stay_whole(value: int) -> None:
    """Helm holds numbers as floats; 1.234567e+06 would be no integer to the program."""
    assert render(values_at("config.seed", value)).config["seed"] == value


def test_without_a_recipe_the_program_has_its_own_defaults() -> None:
    assert render({"recipe": ""}).config == {"broker": {"allow_data_loss": False}}


def test_settings_of_a_family_are_its_own() -> None:
    rendered = render({"env": {"alfworld": {"settings": {"max_sessions": 9}}, "webshop": {"enabled": True}}})
    files = rendered.find("ConfigMap", "config")["data"]
    assert "max_sessions: 9" in files["env-alfworld.yaml"]
    assert "max_sessions" not in files["run.yaml"] + files["env-webshop.yaml"]


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


def test_alerts_and_dashboards_are_those_of_the_repository() -> None:
    import yaml

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


def test_further_objects_may_use_the_release() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-a', labels: {}}"
    tree = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-b", "labels": {}}}
    names = render({"extraObjects": [text, tree]}).names("ConfigMap")
    assert {"demo-a", "demo-b"} <= set(names)


def test_helm_test_asks_everybody_and_is_cleaned_up() -> None:
    rendered = render()
    ready, trajectory = (found for found in rendered.pods if found.kind == "Pod")
    assert {container["name"] for container in ready.containers} == set(SERVICES)
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


FIRST_LEARNER = "demo-hiper-learner.ml.svc.cluster.local"


def test_weights_over_http_need_no_shared_files() -> None:
    rendered = render(EVERY["http-weights"])
    learner, rollout = rendered.pod("learner"), rendered.pod("rollout")
    assert learner.variables["HIPER_WEIGHTS__ADVERTISE"] == f"http://{FIRST_LEARNER}:8085"
    assert rollout.variables["HIPER_WEIGHTS__ADVERTISE"] == "http://$(POD_IP):8085", "each passes on what it has"
    for found in (learner, rollout):
        assert found.variables["HIPER_WEIGHTS__ADDRESS"] == "0.0.0.0:8085"
        assert found.variables["HIPER_GRPC_TOKEN_FILE"], "beyond loopback weights are served to those with the token"
    assert "/var/lib/hiper/run" not in rollout.mounts
    assert rendered.find("PersistentVolumeClaim", "run")["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_weights_over_http_are_open_to_rollouts_only() -> None:
    rendered = render(EVERY["http-weights"])
    for server in ("learner", "rollout"):
        rules = rendered.find("NetworkPolicy", server)["spec"]["ingress"]
        (rule,) = [rule for rule in rules if rule["ports"][0]["port"] == "weights"]
        (peer,) = rule["from"]
        assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "rollout"
    assert "weights" not in str(render().of("NetworkPolicy")[0]["spec"])
    assert {"name": "weights", "port": 8085, "targetPort": "weights"} in rendered.find("Service", "learner")["spec"][
        "ports"
    ]


def test_weights_in_files_open_no_port() -> None:
    rendered = render()
    assert "HIPER_WEIGHTS__ADDRESS" not in rendered.pod("learner").variables
    assert not [port for item in rendered.of("Service") for port in item["spec"]["ports"] if port["name"] == "weights"]


def test_a_warm_started_model_is_shared_in_files_however_weights_travel() -> None:
    rendered = render(values_at("config.weights.transport", "http"))
    assert rendered.pod("rollout").mounts["/var/lib/hiper/run"]["readOnly"] is True


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


DEEPSPEED = {"recipe": "", "config": {"learner": {"backend": {"name": "deepspeed"}}}}


def test_several_gpus_of_one_node_are_started_by_torchrun() -> None:
    main = render(merged(DEEPSPEED, values_at("learner.gpu.count", 4))).pod("learner").main
    assert main["command"] == ["torchrun"]
    split = main["args"].index("hiper")
    assert {"--nnodes=1", "--nproc-per-node=4", "--node-rank=$(NODE_RANK)"} <= set(main["args"][:split])
    assert main["args"][split - 1 : split + 2] == ["--module", "hiper", "learner"]
    assert {"name": "NODE_RANK", "value": "0"} in main["env"]
    assert main["resources"]["limits"]["nvidia.com/gpu"] == 4


def test_nodes_find_the_first_one_and_know_their_number() -> None:
    rendered = render(EVERY["multinode"])
    learner = rendered.pod("learner")
    assert rendered.find("StatefulSet", "learner")["spec"]["replicas"] == 2
    assert rendered.find("StatefulSet", "learner")["spec"]["podManagementPolicy"] == "Parallel", (
        "none waits to be ready"
    )
    assert {"--nnodes=2", "--nproc-per-node=8", f"--master-addr={FIRST_LEARNER}"} <= set(learner.main["args"])
    assert learner.variables["NODE_RANK"] == {
        "fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}
    }
    assert rendered.find("Service", "learner")["spec"]["publishNotReadyAddresses"] is True


def test_nodes_of_one_learner_are_one_learner_to_the_broker() -> None:
    for values in (EVERY["multinode"], {}):
        assert render(values).pod("learner").main["args"][-2:] == ["--name", "demo-hiper-learner-0"]


def test_nodes_may_talk_to_each_other_and_one_node_may_not_talk_to_itself() -> None:
    peer = {"podSelector": {"matchLabels": render().find("StatefulSet", "learner")["spec"]["selector"]["matchLabels"]}}
    for values, open_ in ((EVERY["multinode"], True), ({}, False)):
        spec = render(values).find("NetworkPolicy", "learner")["spec"]
        assert ({"from": [peer]} in spec["ingress"]) == open_
        assert ({"to": [peer]} in spec["egress"]) == open_


def test_one_gpu_is_started_by_nobody_else() -> None:
    main = render(values_at("learner.gpu.count", 1)).pod("learner").main
    assert main["command"] == ["hiper"]
    assert main["args"][0] == "learner"


def test_of_several_nodes_the_first_answers_for_all() -> None:
    """Rank 0 alone serves HTTP and gRPC, so nobody is sent to another pod, and no probe kills one."""
    rendered = render(EVERY["multinode"])
    selector = rendered.find("Service", "learner")["spec"]["selector"]
    assert selector["statefulset.kubernetes.io/pod-name"] == "demo-hiper-learner-0"
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        command = rendered.pod("learner").main[probe]["exec"]["command"]
        assert command[:2] == ["python", "-c"]
        assert path in command[2]
        script = command[2].replace(":8080", ":1")
        run = partial(subprocess.run, [sys.executable, "-c", script], capture_output=True, timeout=30, check=False)
        assert run(env={"NODE_RANK": "1"}).returncode == 0
        assert run(env={"NODE_RANK": "0"}).returncode != 0, "nothing listens there"


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
