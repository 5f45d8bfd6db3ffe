"""docker-compose.yml: valid, hardened, closed to other machines, and saying what the programs and the chart say."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer.main
import yaml
from compose_file import EVERY, FOREIGN, OURS, ROOT, STEPS, Service, compose, defaults, services
from relabelled import relabelled

from hiper import __version__
from hiper.cli.main import app
from hiper.config import load_config
from hiper.metrics.catalogue import CATALOGUE
from hiper.streams.acl import USERS
from hiper.supervisor.table import BROKER_URL, SERVICES, WHEN_DONE, ServiceSpec
from services.control.watching import SERVICES_VARIABLE, WatchedServices

COMMAND_LINE = typer.main.get_command(app)
TABLE_NAMES = {"env_server": ["env-alfworld", "env-webshop"], "rollout": ["rollout", "rollout-gpu"]}
TABLE_NAMES |= {"learner": ["learner", "learner-gpu"]}
IN_THE_TABLE = [(spec, EVERY[name]) for spec in SERVICES for name in TABLE_NAMES.get(spec.name, [spec.name])]
PEERS = {BROKER_URL, "HIPER_ENV__ADDRESSES", "HIPER_HAE__CRITIC_ADDRESS"}

every_service = pytest.mark.parametrize("service", EVERY.values(), ids=EVERY.keys())
our_service = pytest.mark.parametrize("service", OURS.values(), ids=OURS.keys())
table_row = pytest.mark.parametrize(
    ("spec", "service"), IN_THE_TABLE, ids=[service.name for _, service in IN_THE_TABLE]
)


def test_it_is_what_the_specification_of_compose_files_allows() -> None:
    checker = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*checker, ROOT / "docker-compose.yml"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout


def test_old_compose_takes_it() -> None:
    """docker-compose 1.29 refuses these."""
    assert not compose().keys() & {"name", "include"}
    for service in EVERY.values():
        waits = service.tree.get("depends_on", {}).values()
        assert all(set(wait) == {"condition"} for wait in waits)
        assert "start_interval" not in service.tree.get("healthcheck", {})


@our_service
def test_a_command_is_one_that_hiper_accepts(service: Service) -> None:
    command, words = COMMAND_LINE, list(service.command)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(service.name, words).close()


@our_service
def test_variables_are_settings_of_the_run_file(service: Service) -> None:
    run_file = service.command[service.command.index("--config") + 1].replace("/opt/hiper", str(ROOT))
    settings = load_config(Path(run_file), environment=service.environment)
    assert settings.run == "demo"


def test_a_run_on_a_gpu_with_real_games_is_a_matter_of_variables() -> None:
    chosen = {"RECIPE": "alfworld-qwen2.5-1.5b", "GAMES": "/srv/games", "GAMES_PATH": "/games/json_2.1.1"}
    for name, service in services(**chosen).items():
        if not service.is_hiper or service.tree.get("profiles") == ["cpu"]:
            continue
        run_file = service.command[service.command.index("--config") + 1].replace("/opt/hiper", str(ROOT))
        settings = load_config(Path(run_file), environment=service.environment)
        assert settings.run.startswith("alfworld-qwen")
        assert settings.env.data == (Path("/games/json_2.1.1") if name == "env-alfworld" else None)
        assert name != "env-alfworld" or service.mounts["/games"] == ("/srv/games", "ro")


@table_row
def test_a_service_runs_the_command_of_the_table(spec: ServiceSpec, service: Service) -> None:
    assert tuple(service.command[: len(spec.command)]) == spec.command
    assert service.command[len(spec.command) :: 2] == ["--config", "--run-dir"]


@table_row
def test_a_service_is_given_the_addresses_it_reads_and_no_others(spec: ServiceSpec, service: Service) -> None:
    user = spec.broker_user or spec.name
    assert service.environment.keys() & PEERS == set(spec.reads) - {WHEN_DONE}
    if BROKER_URL in spec.reads:
        assert service.environment[BROKER_URL] == f"redis://{user}@broker:6379"
        assert service.environment["HIPER_BROKER__PASSWORD_FILE"] == f"/etc/hiper/secrets/broker/{user}"


@table_row
def test_whoever_serves_or_calls_grpc_holds_the_token(spec: ServiceSpec, service: Service) -> None:
    speaks = "HIPER_GRPC_ADDRESS" in service.environment or set(spec.reads) - {BROKER_URL}
    assert ("HIPER_GRPC_TOKEN_FILE" in service.environment) == bool(speaks)
    if spec.port is not None and spec.port.grpc:
        assert service.environment["HIPER_GRPC_ADDRESS"] == "0.0.0.0:50051"


@pytest.mark.parametrize("name", [spec.name for spec in SERVICES])
def test_every_service_of_the_table_is_there(name: str) -> None:
    assert set(TABLE_NAMES.get(name, [name])) <= EVERY.keys()


def test_control_asks_for_a_token() -> None:
    variables = EVERY["control"].environment
    assert variables["HIPER_CONTROL_TOKEN_FILE"] == "/etc/hiper/secrets/control"


@every_service
def test_it_is_hardened_as_in_the_chart(service: Service) -> None:
    tree = service.tree
    user = tree["user"].split(":")[0]
    assert user.isdecimal()
    assert int(user) > 0
    assert service.name in FOREIGN or tree["user"] == "65532:65532"
    assert tree["read_only"] is True
    assert tree["cap_drop"] == ["ALL"]
    assert tree["security_opt"] == ["no-new-privileges:true"]
    assert tree["init"] is True
    assert tree["tmpfs"]
    assert re.fullmatch(r"\d+[mg]", tree["mem_limit"])
    assert tree["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert not tree.keys() & {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode", "container_name"}


@every_service
def test_what_ends_well_stays_ended_and_what_dies_comes_back(service: Service) -> None:
    assert service.tree["restart"] == ("no" if service.name in STEPS else "on-failure")


def test_ports_are_open_to_this_machine_only() -> None:
    published = {name: service.tree["ports"] for name, service in EVERY.items() if "ports" in service.tree}
    assert published.keys() == {"control", *FOREIGN}
    for (port,) in published.values():
        assert port.startswith("127.0.0.1:")


def test_only_what_has_a_port_or_downloads_a_model_has_a_way_out() -> None:
    assert compose()["networks"]["inside"] == {"internal": True}
    out = {name for name, service in EVERY.items() if "outside" in service.tree["networks"]}
    assert out == {"control", *FOREIGN, "rollout-gpu", "learner-gpu"}
    assert all("inside" in service.tree["networks"] for service in EVERY.values())


@every_service
def test_no_secret_is_in_a_variable_or_an_argument(service: Service) -> None:
    for value in (*service.environment.values(), *service.command):
        assert not re.search(r"://[^/@]*:[^/@]*@", str(value))
    assert not any("PASSWORD" in name and not name.endswith("_FILE") for name in service.environment)


@every_service
def test_secrets_are_files_that_only_init_may_write(service: Service) -> None:
    source, mode = service.mounts.get("/etc/hiper/secrets", ("secrets", "ro"))
    assert (source, mode) == ("secrets", "rw" if service.name == "init" else "ro")
    for name, value in service.environment.items():
        if name.endswith("_FILE"):
            assert "/etc/hiper/secrets" in service.mounts
            made = value.removeprefix("/etc/hiper/secrets/")
            assert made in {"grpc", "control", *(f"broker/{user}" for user in USERS)}


@every_service
def test_a_service_waits_for_those_it_cannot_start_without(service: Service) -> None:
    waits = service.tree.get("depends_on", {})
    for name, wait in waits.items():
        assert wait["condition"] == ("service_completed_successfully" if name in STEPS else "service_healthy")
        profiles = EVERY[name].tree.get("profiles", [])
        assert not profiles or set(service.tree["profiles"]) <= set(profiles), "it would wait for what does not run"
    if BROKER_URL in service.environment:
        assert "broker" in waits


@every_service
def test_health_is_asked_where_something_stays_up(service: Service) -> None:
    """Images of HiPER bring their check; a step has none."""
    check = service.tree.get("healthcheck")
    if service.name in STEPS:
        assert check == {"disable": True}
    else:
        assert (check is None) == (service.name not in FOREIGN)
    if service.is_hiper and service.name not in STEPS:
        assert service.environment["HIPER_HTTP_ADDRESS"] == "0.0.0.0:8080"


def test_the_learner_writes_the_run_and_everybody_else_reads_it() -> None:
    run = "/var/lib/hiper/run"
    writers = {name for name, service in EVERY.items() if service.mounts.get(run, ("", "ro"))[1] == "rw"}
    assert writers == {"warmstart", "learner", "learner-gpu"}
    for name in ("rollout", "rollout-gpu", "control"):
        assert EVERY[name].mounts[run] == ("run", "ro")
    assert EVERY["learner"].command[-1] == run, "announced weights are file URIs: the path is the same for all"
    assert EVERY["rollout"].mounts[EVERY["rollout"].command[-1]] == ("rollout", "rw"), "a rollout spools elsewhere"
    assert EVERY["learner"].environment["HIPER_MODEL__PATH"] == EVERY["warmstart"].command[-1]


@every_service
def test_what_is_mounted_exists(service: Service) -> None:
    for source, _ in service.mounts.values():
        assert (ROOT / source).exists() if source.startswith("./") else source in compose()["volumes"]


def test_one_of_cpu_and_gpu_runs_under_the_same_addresses() -> None:
    for name in ("rollout", "learner"):
        assert EVERY[name].tree["profiles"] == ["cpu"]
        gpu = EVERY[f"{name}-gpu"].tree
        assert gpu["profiles"] == ["gpu"]
        assert gpu["networks"]["inside"]["aliases"] == [name]
        (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


def test_what_runs_without_a_word_is_everything_on_cpus() -> None:
    assert defaults()["COMPOSE_PROFILES"] == "cpu,observability"


LISTENING = {name for name, service in OURS.items() if "HIPER_HTTP_ADDRESS" in service.environment}
FOUND = {name for name in LISTENING if not name.endswith("-gpu")}
"""Names under which everything that answers /readyz and /metrics is found."""


def test_prometheus_scrapes_every_service_where_it_listens() -> None:
    (job,) = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    (search,) = job["dns_sd_configs"]
    assert (set(search["names"]), search["port"]) == (FOUND, 8080)
    components = {relabelled(job["relabel_configs"], {"__meta_dns_name": name})["component"] for name in FOUND}
    assert components == {spec.name for spec in SERVICES}, "as everywhere, not as the containers are called"


def test_control_watches_what_prometheus_scrapes(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = EVERY["control"].environment[SERVICES_VARIABLE]
    assert set(listed.split(",")) == {f"{name}:8080" for name in FOUND}
    monkeypatch.setenv(SERVICES_VARIABLE, listed)
    assert WatchedServices.from_environment() is not None


@pytest.mark.parametrize("name", sorted(LISTENING))
def test_a_service_exports_its_spans_where_the_environment_says(name: str) -> None:
    """The standard's variables, the same ones that the chart sets, as .env or the shell has them."""
    chart = (ROOT / "deploy/helm/templates/_tracing.tpl").read_text()
    standard = dict.fromkeys(re.findall(r"name: (OTEL_\w+)", chart))
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in standard
    given = EVERY[name].environment
    assert {variable: given[variable] for variable in given if variable.startswith("OTEL_")} == standard


def test_jaeger_takes_the_spans_and_keeps_only_so_many() -> None:
    collector = urlsplit(defaults()["OTEL_EXPORTER_OTLP_ENDPOINT"])
    settings = yaml.safe_load((ROOT / "deploy/jaeger/jaeger.yaml").read_text())
    assert EVERY[str(collector.hostname)].mounts[EVERY["jaeger"].command[-1]] == ("./deploy/jaeger/jaeger.yaml", "ro")
    assert settings["receivers"]["otlp"]["protocols"]["grpc"] == {"endpoint": f"0.0.0.0:{collector.port}"}
    (pipeline,) = settings["service"]["pipelines"].values()
    for part in ("receivers", "processors", "exporters"):
        assert set(pipeline[part]) == settings[part].keys()
    assert set(settings["service"]["extensions"]) == settings["extensions"].keys()
    (kept,) = settings["extensions"]["jaeger_storage"]["backends"]
    assert settings["extensions"]["jaeger_storage"]["backends"][kept]["memory"]["max_traces"] <= 10_000
    assert settings["extensions"]["jaeger_query"]["storage"]["traces"] == kept
    assert settings["exporters"]["jaeger_storage_exporter"]["trace_storage"] == kept


def test_grafana_shows_the_dashboards_of_the_repository() -> None:
    mounts = EVERY["grafana"].mounts
    (provider,) = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/hiper.yml").read_text())["providers"]
    assert mounts[provider["options"]["path"]] == ("./deploy/grafana/dashboards", "ro")
    assert mounts["/etc/grafana/provisioning"] == ("./deploy/grafana/provisioning", "ro")
    (source,) = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    home = EVERY["grafana"].environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "deploy/grafana/dashboards" / Path(home).name).exists()


@every_service
def test_versions_are_pinned(service: Service) -> None:
    tag = service.tree["image"].rpartition(":")[2]
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag)
    if service.name not in FOREIGN:
        assert tag == __version__


def test_the_smoke_service_waits_for_a_metric_that_exists() -> None:
    script = (ROOT / "tests/compose/wait_for_versions.py").read_text()
    assert "hiper_learner_policy_version" in script
    assert "learner_policy_version" in CATALOGUE
    assert EVERY["smoke"].command == ["3"]


def test_what_takes_jaegers_part_listens_where_jaeger_would() -> None:
    over = yaml.safe_load((ROOT / "tests/compose/offline.yml").read_text())["services"]
    assert over.keys() == {"jaeger"}
    collector = urlsplit(defaults()["OTEL_EXPORTER_OTLP_ENDPOINT"])
    page = EVERY["jaeger"].tree["ports"][0].rpartition(":")[2]
    assert over["jaeger"]["command"] == [str(collector.port), page]
    assert over["jaeger"]["healthcheck"]["test"][-1] == page


def test_the_override_of_the_smoke_run_gives_its_settings_to_every_service() -> None:
    over = yaml.safe_load((ROOT / "tests/compose/smoke.yml").read_text())["services"]
    cpu = {name for name, service in OURS.items() if service.tree.get("profiles") != ["gpu"]}
    assert over == {name: {"env_file": "tests/compose/smoke.env"} for name in cpu}
    given = dict(line.split("=") for line in (ROOT / "tests/compose/smoke.env").read_text().splitlines()[1:])
    assert load_config(ROOT / "configs/demo.yaml", environment=given).learner.iterations > 3
