"""The broker of the chart, for real: its rendered configuration, its users, and the script of `helm test`."""

import asyncio
import importlib.util
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType

import pytest
from chart_broker import FAST, Server, running_server
from chart_render import CHART, EVERY, merged, refusal, render, values_at
from pydantic import SecretStr

from hiper._proto.trajectory.v1.trajectory_pb2 import Task, Trajectory
from hiper.config import RunConfig, parse_config
from hiper.config.sections import BrokerSettings
from hiper.errors import BrokerError, HiperError
from hiper.streams import GROUPS, Batches, Broker, Consumer, Delivery, LearnerLease, Publisher, apply_ack
from hiper.streams.acl import USERS
from hiper.streams.server import ServerInfo, objections
from hiper.vocabulary import Stream


def rendered_conf(**values: object) -> str:
    return str(render({"broker": values} if values else {}).find("ConfigMap", "broker")["data"]["broker.conf"])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with running_server(tmp_path, monkeypatch) as running:
        yield running


async def test_every_service_can_log_in_and_work(server: Server) -> None:
    async with await server.connect("learner") as learner:
        await learner.create_run()
        lease = LearnerLease(learner, 6.0)
        await lease.acquire()
        for user in ("rollout", "reward", "hae", "observer", "operator"):
            async with await server.connect(user) as broker:
                await broker.join_run(2.0)


async def test_a_stranger_and_a_wrong_password_are_turned_away(server: Server) -> None:
    async with await server.connect("learner") as learner:
        await learner.create_run()
    with pytest.raises(BrokerError, match="refused"):
        await server.connect("rollout", "wrong")
    default = BrokerSettings(url=SecretStr(f"redis://127.0.0.1:{server.port}/0"), **FAST)
    with pytest.raises(BrokerError, match="refused"):
        await Broker.connect(default, "demo", "test")


@pytest.mark.parametrize(("password", "code"), [(None, 0), ("wrong", 1)])
def test_the_probe_asks_as_the_kubelet_would(server: Server, password: str | None, code: int) -> None:
    tool = shutil.which("valkey-cli") or shutil.which("redis-cli")
    if tool is None:
        pytest.skip("neither valkey-cli nor redis-cli is on PATH")
    command = render().pod("broker").main["readinessProbe"]["exec"]["command"]
    mounted = server.folder / "observer"
    mounted.write_text(password or server.passwords["observer"])
    script = command[-1].replace("valkey-cli", f"{tool} -p {server.port}")
    script = script.replace("/etc/hiper/observer/password", str(mounted))
    assert str(mounted) in script

    def probe() -> int:
        return subprocess.run([*command[:-1], script], timeout=30, check=False).returncode

    give_up = time.monotonic() + 10
    while probe() != code:
        assert time.monotonic() < give_up


@pytest.fixture
def one_trajectory(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script of the test pod."""
    spec = importlib.util.spec_from_file_location("one_trajectory", CHART / "files/one_trajectory.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "_LOOK_S", 0.05)
    return module


def observer_config(server: Server) -> RunConfig:
    """The run file of the chart with the variable the test pod is given."""
    config = parse_config(render().config, source="chart", environment={})
    return config.model_copy(update={"broker": server.settings("observer")})


async def test_the_helm_test_says_where_trajectories_stay(server: Server, one_trajectory: ModuleType) -> None:
    async with await server.connect("learner") as learner:
        await learner.create_run()
        fault = await one_trajectory.watch(observer_config(server), 0.3)
    assert re.match(r"no trajectory was applied within 0\.3 s; published 0; waiting: 0 in tasks, 0 in traj.raw", fault)


async def test_the_helm_test_sees_one_go_the_whole_way(server: Server, one_trajectory: ModuleType) -> None:
    """Every stage works as the user the chart gives it."""
    async with AsyncExitStack() as stack:
        as_user = {user: await stack.enter_async_context(await server.connect(user)) for user in USERS}
        await as_user["learner"].create_run()
        for broker in as_user.values():
            await broker.join_run(2.0)
        watching = asyncio.create_task(one_trajectory.watch(observer_config(server), 10.0))
        lease = LearnerLease(as_user["learner"], 6.0)
        await lease.acquire()
        task = Task(schema_version=1, run="demo", trajectory_id="demo/t/0/0", batch_id="t", batch_size=1)
        await Publisher(as_user["rollout"]).publish(Trajectory(schema_version=1, task=task))
        raw = await one(as_user["reward"], Stream.RAW)
        await Batches(as_user["reward"]).add_member(raw, raw.trajectory())
        batches, scored = Batches(as_user["hae"]), await one(as_user["hae"], Stream.SCORED)
        await batches.hand_off(scored, scored.batch_ready(), await batches.members("t"))
        entry = await one(as_user["learner"], Stream.ADVANTAGES)
        await apply_ack(as_user["learner"], lease, {entry.entry_id: "applied"})
        assert await watching == ""


async def one(broker: Broker, stream: Stream) -> Delivery:
    """The entry that waits in a stream."""
    consumer = Consumer(broker, stream, GROUPS[stream], "test")
    async with asyncio.timeout(10.0):
        while True:
            for delivery in await consumer.receive(1):
                return delivery


async def test_the_helm_test_says_that_no_run_has_begun(server: Server, one_trajectory: ModuleType) -> None:
    with pytest.raises(HiperError, match="demo"):
        await one_trajectory.watch(observer_config(server), 0.3)


def test_the_configuration_is_one_the_services_accept() -> None:
    """What `Broker.connect` objects to, read from the file instead of from the server."""
    conf = dict(line.split(" ", 1) for line in rendered_conf().splitlines() if not line.startswith("#"))
    assert (conf["appendonly"], conf["maxmemory-policy"], conf["appendfsync"]) == ("yes", "noeviction", "always")
    assert conf["no-appendfsync-on-rewrite"] == "no", "`yes` would switch `always` off during a rewrite"
    info = ServerInfo(
        "Valkey", broker_version(), conf["maxmemory-policy"], None, appendonly=conf["appendonly"] == "yes"
    )
    assert objections(info, BrokerSettings()) == []


def broker_version() -> str:
    return str(render().pod("broker").main["image"]).rpartition(":")[2]


@pytest.mark.parametrize(("limit", "memory"), [("2Gi", "1433mb"), ("512Mi", "358mb"), ("8Gi", "5734mb")])
def test_the_broker_leaves_room_for_a_rewrite_of_its_file(limit: str, memory: str) -> None:
    assert f"maxmemory {memory}\n" in rendered_conf(resources={"limits": {"memory": limit}})


def test_memory_can_be_given() -> None:
    assert "maxmemory 3gb\n" in rendered_conf(maxmemory="3gb")


def test_throw_away_runs_say_so_everywhere() -> None:
    rendered = render({"broker": {"persistence": {"enabled": False}, "allowDataLoss": True}})
    assert "appendonly no" in rendered.find("ConfigMap", "broker")["data"]["broker.conf"]
    assert rendered.config["broker"]["allow_data_loss"] is True
    assert "volumeClaimTemplates" not in rendered.find("StatefulSet", "broker")["spec"]
    assert rendered.pod("broker").volume("data")["emptyDir"] == {}
    assert "WARNING: the broker keeps nothing" in rendered.notes


def test_the_users_follow_the_run() -> None:
    (container,) = render(values_at("config.run", "another")).pod("broker").spec["initContainers"]
    assert container["args"][:4] == ["broker", "acl", "--run", "another"]


def test_the_broker_is_asked_as_a_user_who_may_only_look() -> None:
    pod = render().pod("broker")
    secret = pod.volume("observer")["secret"]
    assert secret["secretName"] == "demo-hiper-broker-users"
    assert secret["items"] == [{"key": "observer", "path": "password"}]
    main = pod.main
    assert "--user observer" in main["readinessProbe"]["exec"]["command"][2]
    assert "tcpSocket" in main["livenessProbe"], "a broker that loads its file is alive"


def test_a_claim_that_exists_is_used() -> None:
    rendered = render(values_at("broker.persistence.existingClaim", "old-broker"))
    assert rendered.pod("broker").volume("data")["persistentVolumeClaim"]["claimName"] == "old-broker"
    assert "volumeClaimTemplates" not in rendered.find("StatefulSet", "broker")["spec"]


EXTERNAL = EVERY["external-broker-tls"]


def test_an_external_broker_is_reached_over_tls_with_its_authority() -> None:
    rendered = render(EXTERNAL)
    assert rendered.components("StatefulSet") == {"learner"}
    for component in ("rollout", "reward", "hae", "learner", "control"):
        pod = rendered.pod(component)
        url = "rediss://hiper@broker.example.com:6380/0?ssl_ca_certs=/etc/hiper/broker-ca/ca.crt"
        assert pod.variables["HIPER_BROKER__URL"] == url
        assert pod.volume("broker-password")["secret"]["secretName"] == "managed-broker"
        assert pod.volume("broker-password")["secret"]["items"] == [{"key": "password", "path": "password"}]
        assert pod.volume("broker-ca")["secret"]["secretName"] == "managed-broker-ca"


def test_an_external_broker_may_have_a_user_per_service() -> None:
    rendered = render(merged(EXTERNAL, values_at("externalBroker.username", "")))
    assert rendered.pod("hae").variables["HIPER_BROKER__URL"].startswith("rediss://hae@")
    assert rendered.pod("hae").volume("broker-password")["secret"]["items"] == [{"key": "hae", "path": "password"}]


def test_an_external_broker_without_tls() -> None:
    rendered = render(merged(EXTERNAL, {"externalBroker": {"tls": {"enabled": False, "caSecret": ""}}}))
    url = rendered.pod("reward").variables["HIPER_BROKER__URL"]
    assert url == "redis://hiper@broker.example.com:6380/0"


def test_a_managed_server_that_hides_its_settings_is_trusted_if_told() -> None:
    assert render(EXTERNAL).config["broker"]["assume_settings"] is True
    assert "has one broker" in refusal(merged(EXTERNAL, values_at("broker.enabled", True)))


def test_the_broker_of_compose_differs_in_places_and_memory_only() -> None:
    def settings(text: str) -> dict[str, str]:
        lines = [line.partition(" ") for line in text.splitlines() if line and not line.startswith("#")]
        return {name: value for name, _, value in lines if name not in ("aclfile", "dir", "maxmemory")}

    assert settings((CHART.parent / "broker/broker.conf").read_text()) == settings(rendered_conf())
