"""The chart wires what the service table says, and nothing else (hiper.supervisor.table)."""

import pytest
from chart_render import EVERY, Pod, render

from hiper.streams.acl import USERS
from hiper.supervisor.table import BROKER_URL, SERVICES, WHEN_DONE, ServiceSpec

COMPONENTS = {"env_server": "env-alfworld"}
PEER_VARIABLES = {BROKER_URL, "HIPER_ENV__ADDRESSES", "HIPER_HAE__CRITIC_ADDRESS"}
by_service = pytest.mark.parametrize("spec", SERVICES, ids=lambda spec: spec.name)


def pod_of(spec: ServiceSpec, values: str = "defaults") -> Pod:
    return render(EVERY[values]).pod(COMPONENTS.get(spec.name, spec.name))


@by_service
def test_a_service_runs_the_command_of_the_table(spec: ServiceSpec) -> None:
    main = pod_of(spec).main
    assert main["command"] == ["hiper"]
    assert tuple(main["args"][: len(spec.command)]) == spec.command
    assert main["args"][len(spec.command) :: 2] == ["--config", "--run-dir", "--name"]


@by_service
def test_a_service_is_given_the_addresses_it_reads_and_no_others(spec: ServiceSpec) -> None:
    # What a learner does at the end of its run is no address: the chart says it in the run file.
    assert pod_of(spec).variables.keys() & PEER_VARIABLES == set(spec.reads) - {WHEN_DONE}


@by_service
def test_a_service_listens_beyond_its_pod_only_where_somebody_calls_it(spec: ServiceSpec) -> None:
    pod = pod_of(spec)
    assert pod.variables["HIPER_HTTP_ADDRESS"] == "0.0.0.0:8080"
    if spec.port is not None and spec.port.grpc:
        assert pod.variables["HIPER_GRPC_ADDRESS"] == "0.0.0.0:50051"
        assert {"name": "grpc", "containerPort": 50051} in pod.main["ports"]


@by_service
def test_whoever_serves_or_calls_grpc_holds_the_token(spec: ServiceSpec) -> None:
    pod = pod_of(spec)
    speaks = "HIPER_GRPC_ADDRESS" in pod.variables or set(spec.reads) - {BROKER_URL}
    assert ("HIPER_GRPC_TOKEN_FILE" in pod.variables) == bool(speaks)


@by_service
def test_mutual_tls_reaches_whoever_serves_or_calls_grpc(spec: ServiceSpec) -> None:
    pod = pod_of(spec, "cert-manager")
    given = {name for name in pod.variables if name.startswith("HIPER_GRPC_TLS_")}
    assert bool(given) == ("HIPER_GRPC_TOKEN_FILE" in pod.variables)
    assert len(given) in (0, 3)


@by_service
def test_the_table_and_the_chart_agree_on_what_may_scale(spec: ServiceSpec) -> None:
    assert pod_of(spec).kind == ("Deployment" if spec.scalable else "StatefulSet")


@by_service
def test_a_service_logs_in_as_itself(spec: ServiceSpec) -> None:
    pod = pod_of(spec)
    if BROKER_URL in spec.reads:
        user = spec.broker_user or spec.name
        assert pod.variables[BROKER_URL].startswith(f"redis://{user}@demo-hiper-broker.ml.svc.")
        secret = pod.volume("broker-password")["secret"]
        assert (secret["secretName"], secret["items"]) == (
            "demo-hiper-broker-users",
            [{"key": user, "path": "password"}],
        )


@by_service
def test_a_password_is_a_file_and_in_no_variable(spec: ServiceSpec) -> None:
    pod = pod_of(spec)
    if BROKER_URL in spec.reads:
        path = pod.variables["HIPER_BROKER__PASSWORD_FILE"]
        assert pod.mounts[path.rpartition("/")[0]]["name"] == "broker-password"
    assert "secretKeyRef" not in str(pod.main["env"])


@by_service
def test_no_service_link_sets_a_variable_the_program_would_refuse(spec: ServiceSpec) -> None:
    """A Service called hiper-broker would set HIPER_BROKER_PORT."""
    assert pod_of(spec).spec["enableServiceLinks"] is False


@by_service
def test_a_service_has_its_name_from_its_pod(spec: ServiceSpec) -> None:
    pod = pod_of(spec)
    assert pod.main["args"][-1] == ("demo-hiper-learner-0" if spec.name == "learner" else "$(POD_NAME)")
    assert pod.variables["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}


@by_service
def test_liveness_asks_nobody_else(spec: ServiceSpec) -> None:
    main = pod_of(spec).main
    assert main["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert main["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}


@by_service
def test_a_pod_is_ready_when_it_can_serve(spec: ServiceSpec) -> None:
    """For a rollout: once it holds the published weights, verified."""
    probe = pod_of(spec).main["readinessProbe"]
    if spec.name == "env_server":
        assert probe["grpc"] == {"port": 50051}
    else:
        assert probe["httpGet"] == {"path": spec.health, "port": "http"}


def test_readiness_of_an_env_server_with_tls_is_asked_over_http() -> None:
    """A native gRPC probe cannot speak TLS."""
    probe = render(EVERY["cert-manager"]).pod("env-alfworld").main["readinessProbe"]
    assert "grpc" not in probe
    assert probe["httpGet"]["path"] == "/readyz"


@by_service
def test_its_service_leads_to_its_ports(spec: ServiceSpec) -> None:
    component = COMPONENTS.get(spec.name, spec.name)
    service = render().find("Service", component)["spec"]
    assert {port["targetPort"] for port in service["ports"]} == {port["name"] for port in pod_of(spec).main["ports"]}
    if spec.port is None or spec.port.grpc:
        assert service["clusterIP"] == "None", "a client sees the pods: sessions stick to one"


def test_the_generated_secret_has_every_user_of_the_broker() -> None:
    assert render().find("Secret", "broker-users")["data"].keys() == USERS.keys()


def test_env_servers_are_found_pod_by_pod() -> None:
    expected = '["dns:///demo-hiper-env-alfworld.ml.svc.cluster.local:50051"]'
    assert render().pod("rollout").variables["HIPER_ENV__ADDRESSES"] == expected


def test_the_critic_is_found_before_the_learner_is_ready() -> None:
    """HAE connects while the learner loads its model."""
    assert render().find("Service", "learner")["spec"]["publishNotReadyAddresses"] is True


def test_the_learner_keeps_its_name_over_restarts() -> None:
    learner = render().find("StatefulSet", "learner")["spec"]
    assert learner["replicas"] == 1
    assert learner["serviceName"] == "demo-hiper-learner"


@pytest.mark.parametrize("mount", ["/tmp", "/etc/hiper/config"])
@by_service
def test_a_read_only_root_has_what_the_program_writes_and_reads(spec: ServiceSpec, mount: str) -> None:
    pod = pod_of(spec)
    assert mount in pod.mounts
    assert pod.main["securityContext"]["readOnlyRootFilesystem"] is True


def test_rollouts_see_weights_where_the_learner_announces_them() -> None:
    """Announced are file:// URIs: the path must be the same, and only the learner may write."""
    rendered = render()
    learner, rollout = rendered.pod("learner"), rendered.pod("rollout")
    run_dir = learner.main["args"][learner.main["args"].index("--run-dir") + 1]
    assert "readOnly" not in learner.mounts[run_dir]
    assert rollout.mounts[run_dir]["readOnly"] is True
    assert learner.volume("run") == rollout.volume("run")


def test_a_rollout_spools_outside_of_the_shared_files() -> None:
    rollout = render().pod("rollout")
    run_dir = rollout.main["args"][rollout.main["args"].index("--run-dir") + 1]
    assert rollout.mounts[run_dir] == {"name": "spool", "mountPath": run_dir}
    assert rollout.volume("spool")["emptyDir"] == {}


@pytest.mark.parametrize(
    "variable", ["HOME", "HF_HOME", "XDG_CACHE_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "VLLM_CACHE_ROOT"]
)
@pytest.mark.parametrize("component", ["rollout", "learner"])
def test_caches_of_models_and_compilers_are_writable(component: str, variable: str) -> None:
    pod = render().pod(component)
    assert pod.variables[variable].startswith("/cache")
    assert "readOnly" not in pod.mounts["/cache"]
