"""The env servers a client may use, and which one is next: the least used of those that did not just fail."""

import asyncio
from collections.abc import Set

from hiper import logs
from hiper.config.sections import EnvSettings
from hiper.rpc.env_addresses import Directory, Place
from hiper.rpc.env_endpoint import EnvEndpoint

__all__ = ["EnvFleet"]

_AVOID_S = 2.0
"""How long a server that failed is chosen last."""


class EnvFleet:
    """One endpoint for each server of `directory`, opened when it is first seen and closed when it is gone and idle."""

    def __init__(self, settings: EnvSettings, directory: Directory) -> None:
        self._settings = settings
        self._directory = directory
        self._endpoints: dict[Place, EnvEndpoint] = {}
        self._log = logs.get()

    async def pick(self) -> EnvEndpoint:
        """Choose a server and count it as in use, at once, so that sessions opened together spread.

        Raises `TryAgain` if no server is known.
        """
        places = await self._directory.places()
        for place in places:
            if place not in self._endpoints:
                self._endpoints[place] = EnvEndpoint(place, self._settings)
        now = asyncio.get_running_loop().time()
        chosen = min(
            (self._endpoints[place] for place in places), key=lambda e: (max(e.avoid_until - now, 0.0), e.in_use)
        )
        chosen.in_use += 1
        await self._forget(set(places))
        return chosen

    def avoid(self, endpoint: EnvEndpoint, error: Exception) -> None:
        """Prefer other servers for a while."""
        now = asyncio.get_running_loop().time()
        if endpoint.avoid_until < now:  # one line for a server, not one for each of its sessions
            self._log.warning("env server failed, trying others and again", peer=endpoint.address, error=str(error))
        endpoint.avoid_until = now + _AVOID_S

    async def aclose(self) -> None:
        """Close every channel."""
        for endpoint in self._endpoints.values():
            await endpoint.aclose()

    async def _forget(self, known: Set[Place]) -> None:
        gone = [place for place, endpoint in self._endpoints.items() if place not in known and not endpoint.in_use]
        for endpoint in [self._endpoints.pop(place) for place in gone]:
            await endpoint.aclose()
