"""The servers behind `env.addresses`.

- `host:port` is one server.
- `host:first-last` is one for each port of the range: the worker processes of `hiper env serve`.
- `dns:///host:port` is one for each address the name stands for, as a headless Kubernetes service has one per pod. It
  is looked up again every few seconds, so that servers that come are used, and those that go are left.

gRPC's own balancing is of no use here: it sees calls, and sessions must stay with their process.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from hiper.errors import ConfigError
from hiper.rpc.patience import TryAgain

__all__ = ["Directory", "LookUp", "Place", "look_up"]

LookUp = Callable[[str, int], Awaitable[Sequence[str]]]
"""IP addresses of a host, for a port. Raises `OSError` or `TimeoutError` when they cannot be found."""

_DNS = "dns:///"
_RANGE = re.compile(r"(?P<host>.+):(?P<first>\d{1,5})-(?P<last>\d{1,5})")
_NAMED = re.compile(r"(?P<host>[^:\[\]]+):(?P<port>\d{1,5})")
_REFRESH_S = 5.0
_LOOK_UP_S = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """One server."""

    address: str
    """What to dial."""
    server_name: str | None = None
    """Host its certificate is made out to, where that is not what is dialled."""


class Directory:
    """What `names` stand for. Raises `ConfigError` for one that is malformed, or for none."""

    def __init__(self, names: Sequence[str], *, ask: LookUp | None = None, refresh_s: float = _REFRESH_S) -> None:
        if not names:
            raise ConfigError("env.addresses is empty", "set HIPER_ENV__ADDRESSES='[\"host:port\"]'")
        self._fixed: list[Place] = []
        self._hosts: dict[tuple[str, int], list[Place]] = {}
        for name in names:
            self._read(name)
        self._ask = ask or look_up
        self._refresh_s = refresh_s
        self._due_s = 0.0
        self._lock = asyncio.Lock()

    async def places(self) -> Sequence[Place]:
        """Return the servers there are now. Raises `TryAgain` if none is known.

        A look-up that fails leaves what the last one found.
        """
        if not self._hosts:
            return self._fixed
        async with self._lock:
            failed = ""
            if asyncio.get_running_loop().time() >= self._due_s:
                failed = "; ".join([text for host in self._hosts if (text := await self._refresh(*host))])
                self._due_s = asyncio.get_running_loop().time() + self._refresh_s
        found = [*self._fixed, *(place for places in self._hosts.values() for place in places)]
        if not found:
            raise TryAgain(failed or "no env server is known yet")
        return found

    def _read(self, name: str) -> None:
        if name.startswith(_DNS):
            named = _NAMED.fullmatch(name.removeprefix(_DNS))
            if named is None:
                raise _malformed(name)
            self._hosts[named["host"], int(named["port"])] = []
        elif (ports := _RANGE.fullmatch(name)) is not None:
            first, last = int(ports["first"]), int(ports["last"])
            if not 0 < first <= last < 65_536:
                raise _malformed(name)
            self._fixed += [Place(f"{ports['host']}:{port}") for port in range(first, last + 1)]
        else:
            self._fixed.append(Place(name))

    async def _refresh(self, host: str, port: int) -> str:
        """Look `host` up again; returns what failed, if something did."""
        try:
            async with asyncio.timeout(_LOOK_UP_S):
                found = await self._ask(host, port)
        except TimeoutError:
            return f"cannot look up {host}: no answer within {_LOOK_UP_S:g} s"
        except OSError as error:
            return f"cannot look up {host}: {error}"
        self._hosts[host, port] = [Place(f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}", host) for ip in found]
        return "" if found else f"{host} has no address"


async def look_up(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return sorted({str(address[0]) for *_, address in found})


def _malformed(name: str) -> ConfigError:
    return ConfigError(f"env.addresses: '{name}' is no address", "write host:port, host:8600-8607, or dns:///host:port")
