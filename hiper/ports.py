"""Free ports for the processes of a run, its broker included.

Ports are taken from below the range the kernel hands out to outgoing connections, so that no client socket can sit on
the port of a service while that service is being restarted.
"""

import random
import socket
from pathlib import Path

from hiper.errors import DependencyError

__all__ = ["PortBook", "ephemeral_start", "is_free"]

_LOWEST = 10_000
_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_ATTEMPTS = 500


class PortBook:
    """Hands out ports by name. A name keeps its port for as long as the book lives."""

    def __init__(self, generator: random.Random | None = None, *, host: str = "127.0.0.1") -> None:
        self._generator = generator or random.Random()
        self._host = host
        self._ports: dict[str, int] = {}

    def port(self, name: str) -> int:
        """Return the port of `name`, choosing a free one the first time. Raises `DependencyError` if none is found."""
        if name not in self._ports:
            self._ports[name] = self._choose()
        return self._ports[name]

    def address(self, name: str) -> str:
        """Return `host:port` of `name`."""
        return f"{self._host}:{self.port(name)}"

    def _choose(self) -> int:
        end = max(ephemeral_start(), _LOWEST + 1000)
        for _ in range(_ATTEMPTS):
            port = self._generator.randrange(_LOWEST, end)
            if port not in self._ports.values() and is_free(port, self._host):
                return port
        raise DependencyError(
            f"no free port between {_LOWEST} and {end} after {_ATTEMPTS} attempts",
            "stop some of the servers on this machine",
        )


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def ephemeral_start() -> int:
    """First port the kernel gives to outgoing connections (Linux's default where it cannot be read)."""
    try:
        return int(_RANGE_FILE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
