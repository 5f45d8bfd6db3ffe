"""The rendered pods start: the same commands, variables and files, as processes of this machine, become ready.

Rollout and learner are left out for their weight; their variables and files are of the same make.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from chart_broker import Server, running_server
from chart_render import Pod, render
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hiper.supervisor.ports import PortBook
from hiper.supervisor.probe import http_get

DEADLINE_S = 60.0


class Machine:
    """Where pods are processes: hosts are this one, files lie in a folder, each port of a pod is a free one."""

    def __init__(self, folder: Path, broker: Server | None = None) -> None:
        self.folder, self.broker, self.ports = folder, broker, PortBook(host="0.0.0.0")
        for path in ("grpc/token", "control/token"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text("a secret of this test")
        (folder / "config").mkdir()
        for name, text in render().find("ConfigMap", "config")["data"].items():
            (folder / "config" / name).write_text(text)

    def address(self, pod: Pod, port: int) -> str:
        return f"127.0.0.1:{self.ports.port(f'{pod.component}/{port}')}"

    def local(self, pod: Pod, text: str) -> str:
        """`text` of a manifest, as it is here."""
        for port in (8080, 8090, 50051):
            text = text.replace(f"0.0.0.0:{port}", f"0.0.0.0:{self.ports.port(f'{pod.component}/{port}')}")
        if self.broker is not None and text.startswith("redis://"):
            user = text.removeprefix("redis://").partition(":")[0]
            text = text.replace("$(BROKER_PASSWORD)", self.broker.passwords[user])
            text = text.replace("demo-hiper-broker.ml.svc.cluster.local:6379", f"127.0.0.1:{self.broker.port}")
        text = text.replace("$(POD_NAME)", f"{pod.owner}-0")
        place = next((place for place in ("/etc/hiper", "/var/lib/hiper", "/tmp") if text.startswith(place)), None)
        return text if place is None else f"{self.folder}{text.removeprefix(place)}"

    @contextmanager
    def started(self, pod: Pod) -> Iterator[subprocess.Popen[bytes]]:
        given = {name: self.local(pod, value) for name, value in pod.variables.items() if isinstance(value, str)}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HIPER_")}
        assert pod.main["command"] == ["hiper"]
        argv = [sys.executable, "-P", "-m", "hiper", *(self.local(pod, argument) for argument in pod.main["args"])]
        process = subprocess.Popen(argv, env={**inherited, **given}, cwd=self.folder)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=30)


async def ready(machine: Machine, pod: Pod, process: subprocess.Popen[bytes]) -> None:
    """Wait for what the kubelet would wait for."""
    path = pod.main["readinessProbe"].get("httpGet", {"path": "/readyz"})["path"]
    give_up = time.monotonic() + DEADLINE_S
    while True:
        assert process.poll() is None, f"{pod.component} ended with {process.returncode}"
        try:
            code, body = await http_get(machine.address(pod, 8080), path)
        except OSError as error:
            code, body = 0, str(error).encode()
        if code == 200:
            return
        assert time.monotonic() < give_up, f"{pod.component} is not ready: {code} {body.decode()}"
        await asyncio.sleep(0.05)


async def test_an_env_server_starts_and_answers_a_probe_that_holds_no_token(tmp_path: Path) -> None:
    machine, pod = Machine(tmp_path), render().pod("env-alfworld")
    with machine.started(pod) as process:
        await ready(machine, pod, process)
        async with grpc.aio.insecure_channel(machine.address(pod, 50051)) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert process.poll() is None


@pytest.mark.parametrize("component", ["reward", "hae", "control"])
async def test_a_service_starts_as_its_own_user(
    component: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_server(tmp_path, monkeypatch) as broker:
        machine, pod = Machine(tmp_path, broker), render().pod(component)
        async with await broker.connect("learner") as learner:
            await learner.create_run()
        with machine.started(pod) as process:
            await ready(machine, pod, process)
            process.terminate()
            assert process.wait(timeout=pod.spec["terminationGracePeriodSeconds"]) == 0
