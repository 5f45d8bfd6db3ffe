"""A server of this machine with the broker configuration and the users of the chart."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from chart_render import render
from pydantic import SecretStr

from hiper.cli.main import main as hiper_main
from hiper.config.sections import BrokerSettings
from hiper.embedded_broker.servers import find_server
from hiper.errors import HiperError
from hiper.ports import PortBook
from hiper.streams import Broker
from hiper.streams.acl import USERS
from hiper.supervisor import launch

FAST = {"connect_timeout_s": 1.0, "unavailable_timeout_s": 2.0}


def tied(*command: str) -> list[str]:
    """The command as a process that dies with this one."""
    return [sys.executable, "-I", "-S", str(launch.__file__), str(os.getpid()), "", *command]


class Server:
    """The process, and what a service would be told of it."""

    def __init__(self, folder: Path, binary: Path) -> None:
        self.folder, self.binary = folder, binary
        self.port = PortBook().port("broker")
        self.passwords = {user: secrets.token_urlsafe(12) for user in USERS}
        self.process: subprocess.Popen[bytes]

    def write_users(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Run the init container's command."""
        (self.folder / "users").mkdir()
        for user, password in self.passwords.items():
            (self.folder / "users" / user).write_text(password)
        (container,) = render().pod("broker").spec["initContainers"]
        places = {
            "/etc/hiper/broker-users": self.folder / "users",
            "/etc/hiper/acl/users.acl": self.folder / "users.acl",
        }
        arguments = [str(places.get(argument, argument)) for argument in container["args"]]
        monkeypatch.setattr("sys.argv", ["hiper", *arguments])
        with pytest.raises(SystemExit) as ended:
            hiper_main()
        assert not ended.value.code

    def start(self) -> None:
        conf = str(render().find("ConfigMap", "broker")["data"]["broker.conf"])
        here = {
            "/etc/hiper/acl/users.acl": str(self.folder / "users.acl"),
            "dir /data": f"dir {self.folder}",
            "port 6379": f"port {self.port}",
            "bind * -::*": "bind 127.0.0.1",
        }
        for there, place in here.items():
            assert there in conf
            conf = conf.replace(there, place)
        (self.folder / "broker.conf").write_text(conf + "\n")
        command = tied(str(self.binary), str(self.folder / "broker.conf"))
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def settings(self, user: str, password: str | None = None) -> BrokerSettings:
        secret = quote(self.passwords[user] if password is None else password)
        return BrokerSettings(url=SecretStr(f"redis://{user}:{secret}@127.0.0.1:{self.port}/0"), **FAST)

    async def connect(self, user: str, password: str | None = None) -> Broker:
        return await Broker.connect(self.settings(user, password), "demo", "test")


@contextmanager
def running_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Start it with the chart's own files, its paths moved into `folder`."""
    try:
        binary = find_server()
    except HiperError as error:
        pytest.skip(f"no Redis or Valkey server here: {error}")
    server = Server(folder, binary.path)
    server.write_users(monkeypatch)
    server.start()
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(timeout=10)
