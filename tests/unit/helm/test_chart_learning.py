"""Models, games, weights and GPUs: how they get to the pods that need them."""

import subprocess
import sys
from functools import partial

from chart_render import EVERY, merged, render, values_at


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


FIRST_LEARNER = "demo-hiper-learner.ml.svc.cluster.local"


def test_weights_over_http_need_no_shared_files() -> None:
    rendered = render(EVERY["http-weights"])
    learner, rollout = rendered.pod("learner"), rendered.pod("rollout")
    assert learner.variables["HIPER_WEIGHTS__ADVERTISE"] == f"http://{FIRST_LEARNER}:8085"
    assert rollout.variables["HIPER_WEIGHTS__ADVERTISE"] == "http://$(POD_IP):8085", "each passes on what it has"
    for found in (learner, rollout):
        assert found.variables["HIPER_WEIGHTS__ADDRESS"] == "0.0.0.0:8085"
        assert found.variables["HIPER_GRPC_TOKEN_FILE"], "beyond loopback weights are served to those with the token"
    order = [item["name"] for item in rollout.main["env"]]
    assert order.index("POD_IP") < order.index("HIPER_WEIGHTS__ADVERTISE"), "only variables above are put in"
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


DEEPSPEED = {"recipe": "", "config": {"learner": {"backend": {"name": "deepspeed"}}}}


def test_several_gpus_of_one_node_are_started_by_torchrun() -> None:
    learner = render(merged(DEEPSPEED, values_at("learner.gpu.count", 4))).pod("learner")
    main = learner.main
    assert main["command"] == ["torchrun"]
    split = main["args"].index("hiper")
    assert {"--nnodes=1", "--nproc-per-node=4", "--node-rank=$(NODE_RANK)"} <= set(main["args"][:split])
    assert main["args"][split - 1 : split + 2] == ["--module", "hiper", "learner"]
    assert {"name": "NODE_RANK", "value": "0"} in main["env"]
    assert main["resources"]["limits"]["nvidia.com/gpu"] == 4
    assert int(learner.variables["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]) == learner.spec["terminationGracePeriodSeconds"]


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
