"""How to run the broker of a run: address, secret, configuration file, command line.

Port and password are chosen once per directory and remembered, so that a restarted broker is found again by services
that are running. The password is in files only their owner can read, never in arguments.
"""

import os
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from hiper.config.sections import BrokerSettings
from hiper.durable import write_bytes
from hiper.embedded_broker.servers import ServerBinary, find_server
from hiper.errors import RunStateError
from hiper.ports import PortBook, is_free
from hiper.streams.link import without_secrets

__all__ = ["BrokerLaunch", "resolve_broker", "running_url"]

_HOST = "127.0.0.1"
_PROBE_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class BrokerLaunch:
    """A broker to use, and the process to run for it, if any."""

    url: SecretStr
    kind: str
    """`configured` for a server somebody else runs, else `Valkey` or `Redis`."""
    version: str = ""
    argv: tuple[str, ...] = ()
    """Command line; empty for a configured server."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment variables to add."""

    @property
    def address(self) -> str:
        """The URL without its password."""
        return without_secrets(self.url.get_secret_value())


def resolve_broker(settings: BrokerSettings, directory: Path, *, search_path: str | None = None) -> BrokerLaunch:
    """Decide which broker a run uses: the configured one, else a server found on this machine, its data in `directory`.

    Writes the configuration of an own server. Raises DependencyError if there is no server to run, RunStateError if the
    server of this directory runs already.
    """
    if settings.url is not None:
        return BrokerLaunch(settings.url, "configured")
    binary = find_server(search_path)
    directory.mkdir(parents=True, exist_ok=True)
    password = _remembered_password(directory / "password")
    port = _free_port(directory / "port", password)
    config = directory / "broker.conf"
    _write_private(config, _configuration(settings, directory, port, password))
    return BrokerLaunch(
        url=SecretStr(f"redis://:{password}@{_HOST}:{port}/0"),
        kind=binary.kind,
        version=binary.version,
        argv=_command_line(binary, config),
        env={"LC_ALL": "C"},
    )


def running_url(directory: Path) -> SecretStr:
    """Return the URL of the own server whose data is in `directory`, for tools beside a run.

    Raises RunStateError if no run has used the directory.
    """
    try:
        password, port = (directory / "password").read_text().strip(), int((directory / "port").read_text())
    except (OSError, ValueError) as error:
        raise RunStateError(f"no broker has run in {directory}", hint="is this the folder of a run?") from error
    return SecretStr(f"redis://:{password}@{_HOST}:{port}/0")


def _command_line(binary: ServerBinary, config: Path) -> tuple[str, ...]:
    return (str(binary.path), str(config.resolve()))


def _configuration(settings: BrokerSettings, directory: Path, port: int, password: str) -> str:
    values = {
        "bind": _HOST,
        "port": port,
        "requirepass": password,
        "dir": _quoted(directory.resolve()),
        "daemonize": "no",
        "logfile": '""',
        "save": '""',
        "appendonly": "yes",
        "appendfsync": settings.appendfsync,
        # `yes` would turn `always` off while the file is rewritten.
        "no-appendfsync-on-rewrite": "no",
        "auto-aof-rewrite-percentage": 100,
        "aof-load-truncated": "yes",
        "maxmemory": f"{settings.maxmemory_mb}mb",
        "maxmemory-policy": "noeviction",
    }
    return "".join(f"{name} {value}\n" for name, value in values.items())


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _remembered_password(path: Path) -> str:
    if path.exists():
        return path.read_text().strip()
    password = secrets.token_urlsafe(24)
    _write_private(path, password + "\n")
    return password


def _free_port(path: Path, password: str) -> int:
    """The remembered port, or another one if a stranger has taken it."""
    remembered = int(path.read_text()) if path.exists() else 0
    usable = bool(remembered) and is_free(remembered, _HOST)
    if remembered and not usable and _is_own_server(remembered, password):
        raise RunStateError(
            f"the broker of this run is running already, on {_HOST}:{remembered}", hint="stop the run that started it"
        )
    port = remembered if usable else PortBook(host=_HOST).port("broker")
    if port != remembered:
        write_bytes(path, f"{port}\n".encode())
    return port


def _is_own_server(port: int, password: str) -> bool:
    """Whether who listens there takes this run's password: nobody else knows it."""
    try:
        with socket.create_connection((_HOST, port), timeout=_PROBE_TIMEOUT_S) as connection:
            connection.sendall(f"AUTH {password}\r\n".encode())
            return connection.recv(16).startswith(b"+OK")
    except OSError:
        return False


def _write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read, from its first byte on."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
