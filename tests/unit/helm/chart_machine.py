"""Rendered pods as processes of this machine: the same commands, variables and files, at other places."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from chart_broker import Server, tied
from chart_render import Pod, Rendered, Tree, render

from hiper.ports import PortBook
from hiper.service.asking import http_get

_LISTENER = re.compile(r"0\.0\.0\.0:(\d+)")
_PEER = re.compile(r"demo-hiper-([a-z-]+)\.ml\.svc\.cluster\.local:(\d+)")
_PLACE = re.compile(r"(?<![\w.])(/etc/hiper|/var/lib/hiper|/tmp|/cache)(?![\w.])")
_PASSWORD = "/etc/hiper/broker/password"


class Machine:
    """Where pods are processes: hosts are this one, files lie in a folder, each port of a pod is a free one."""

    def __init__(self, folder: Path, broker: Server | None = None, rendered: Rendered | None = None) -> None:
        self.folder, self.broker, self.ports = folder, broker, PortBook(host="0.0.0.0")
        self.rendered = rendered or render()
        for path in ("grpc/token", "control/token"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text("a secret of this test")
        (folder / "config").mkdir()
        for name, text in self.rendered.find("ConfigMap", "config")["data"].items():
            (folder / "config" / name).write_text(text.replace("/var/lib/hiper", str(folder)))

    def address(self, component: str, port: int | str) -> str:
        """Where a port of a pod is here."""
        if component == "broker":
            assert self.broker is not None
            return f"127.0.0.1:{self.broker.port}"
        return f"127.0.0.1:{self.ports.port(f'{component}/{port}')}"

    def local(self, pod: Pod, text: str) -> str:
        """`text` of a manifest, as it is here."""
        text = _LISTENER.sub(lambda found: f"0.0.0.0:{self.ports.port(f'{pod.component}/{found[1]}')}", text)
        text = _PEER.sub(lambda found: self.address(found[1], found[2]), text)
        text = text.replace("$(POD_NAME)", f"{pod.owner}-0")
        return _PLACE.sub(str(self.folder), self._password_of(pod) if text == _PASSWORD else text)

    def _password_of(self, pod: Pod) -> str:
        """The file a pod is given, one for each pod here."""
        (item,) = pod.volume("broker-password")["secret"]["items"]
        assert item["path"] == _PASSWORD.rpartition("/")[2]
        return f"/etc/hiper/users/{item['key']}"

    def command(self, pod: Pod, container: Tree) -> tuple[list[str], dict[str, str]]:
        """Command line and environment of a container."""
        given = {item["name"]: self.local(pod, item["value"]) for item in container.get("env", []) if "value" in item}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HIPER_")}
        start = {"hiper": ["-P", "-m", "hiper"], "python": []}[container["command"][0]]
        rest = [*container["command"][1:], *container["args"]]
        argv = tied(sys.executable, *start, *(self.local(pod, argument) for argument in rest))
        return argv, {**inherited, **given}

    def finished(self, pod: Pod, container: Tree, needs: Sequence[subprocess.Popen[bytes]] = ()) -> tuple[int, str]:
        """Run a container that ends by itself; return its exit code and what it said.

        Fails as soon as one of the processes it needs has ended with an error.
        """
        argv, environment = self.command(pod, container)
        give_up = time.monotonic() + 600
        with subprocess.Popen(argv, env=environment, cwd=self.folder, stdout=subprocess.PIPE, text=True) as process:
            while True:
                try:
                    said, _ = process.communicate(timeout=0.2)
                    return process.returncode, said
                except subprocess.TimeoutExpired:
                    dead = [other.args for other in needs if other.poll()]
                    if dead or time.monotonic() > give_up:
                        process.kill()
                    assert not dead, "it needs what has ended with an error"

    @contextmanager
    def started(self, pod: Pod) -> Iterator[subprocess.Popen[bytes]]:
        """Run the pod's main container."""
        argv, environment = self.command(pod, pod.main)
        process = subprocess.Popen(argv, env=environment, cwd=self.folder)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)


async def ready(machine: Machine, pod: Pod, process: subprocess.Popen[bytes], deadline_s: float = 60.0) -> None:
    """Wait for what the kubelet would wait for."""
    path = pod.main["readinessProbe"].get("httpGet", {"path": "/readyz"})["path"]
    give_up = time.monotonic() + deadline_s
    while True:
        assert process.poll() is None, f"{pod.component} ended with {process.returncode}"
        try:
            code, body = await http_get(machine.address(pod.component, 8080), path)
        except OSError as error:
            code, body = 0, str(error).encode()
        if code == 200:
            return
        assert time.monotonic() < give_up, f"{pod.component} is not ready: {code} {body.decode()}"
        await asyncio.sleep(0.05)
