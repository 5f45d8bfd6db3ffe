"""Services that somebody else runs, as their `/readyz` tells: the containers of docker-compose.yml.

`HIPER_CONTROL_SERVICES` lists where they are found, `host:port` by comma. A name is resolved at every question: each
address it has is a process, so that `docker compose up --scale rollout=2` is seen. Neither the name nor a process is
waited for longer than `_PATIENCE_S`. Control has no rights over these processes: it sees them and changes nothing.
"""

import asyncio
import os
import socket
from collections.abc import Sequence
from http import HTTPStatus
from typing import Self

from hiper.errors import ConfigError, DependencyError, RunStateError
from hiper.service.asking import http_get, why_not_ready
from hiper.service.http import parse_address
from services.control.models import ProcessStatus, ServiceStatus

__all__ = ["SERVICES_VARIABLE", "WatchedServices"]

SERVICES_VARIABLE = "HIPER_CONTROL_SERVICES"
_PATIENCE_S = 2.0
_READY, _UNREADY, _AWAY = "ready", "not ready", "away"


class WatchedServices:
    """Services by the host they are found under."""

    def __init__(self, addresses: Sequence[str]) -> None:
        """Raises `ConfigError` for what is no `host:port`."""
        self._addresses = tuple(addresses)
        for address in addresses:
            try:
                parse_address(address)
            except DependencyError as error:
                raise ConfigError(f"{SERVICES_VARIABLE}: {error.message}", error.hint) from error

    @classmethod
    def from_environment(cls) -> Self | None:
        """Read `HIPER_CONTROL_SERVICES`; None where it names nothing."""
        named = os.environ.get(SERVICES_VARIABLE, "").split(",")
        addresses = [address.strip() for address in named if address.strip()]
        return cls(addresses) if addresses else None

    async def services(self) -> Sequence[ServiceStatus]:
        """Ask all of them at once."""
        return await asyncio.gather(*map(_service, self._addresses))

    async def scale(self, service: str, replicas: int) -> None:
        """Raise `RunStateError`: whoever started a process changes how many there are."""
        raise RunStateError(f"control cannot make {replicas} of {service}", self.why_fixed())

    def why_fixed(self) -> str:
        """See `Scaler`."""
        return (
            "control only watches these processes; whoever started them changes their number, e.g. "
            "docker compose up --detach --scale rollout=2"
        )


async def _service(address: str) -> ServiceStatus:
    host, port = parse_address(address)
    found = await _resolve(host, port)
    processes = await asyncio.gather(*map(_process, found))
    nobody = ProcessStatus(name=address, state=_AWAY, detail=f"{host} has no address", restarts=None)
    return ServiceStatus(
        service=host,
        wanted=max(1, len(processes)),
        ready=sum(process.state == _READY for process in processes),
        scalable=False,
        processes=list(processes) or [nobody],
    )


async def _resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, none if it has none."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        return []
    return sorted({f"[{where[0]}]:{port}" if ":" in str(where[0]) else f"{where[0]}:{port}" for *_, where in found})


async def _process(address: str) -> ProcessStatus:
    answer = await http_get(address, "/readyz", _PATIENCE_S)
    if answer[0] == HTTPStatus.OK:
        return ProcessStatus(name=address, state=_READY, detail="", restarts=None)
    state = _UNREADY if answer[0] else _AWAY
    return ProcessStatus(name=address, state=state, detail=why_not_ready(answer), restarts=None)
