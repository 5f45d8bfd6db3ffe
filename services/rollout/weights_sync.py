"""Keeps the engine on the published policy.

The files are verified while the engine goes on generating; only the swap itself pauses it. A version that cannot be fetched is
tried again, counted, and never loaded half. Episodes wait here for the version their task asks for.
"""

import asyncio

from hiper import logs
from hiper.errors import HiperError
from hiper.metrics import counter, gauge, histogram
from hiper.streams import PolicyBoard, PublishedPolicy
from hiper.vocabulary import PolicyVersion
from hiper.weights.source import source_for
from services.rollout.engine import Engine, EngineDead

__all__ = ["WeightsSync"]


class WeightsSync:
    """Follows the policy board."""

    def __init__(self, board: PolicyBoard, engine: Engine, poll_s: float) -> None:
        self._board = board
        self._engine = engine
        self._poll_s = poll_s
        self._loaded: PublishedPolicy | None = None
        self._changed = asyncio.Condition()
        self._log = logs.get()

    @property
    def synced(self) -> bool:
        """True once a published version is in the engine."""
        return self._loaded is not None

    async def run(self) -> None:
        """Follow for ever. Raises `EngineDead`."""
        while True:
            await self.poll()
            await asyncio.sleep(self._poll_s)

    async def poll(self) -> None:
        """Take in the published version if it is another one than the engine's."""
        published = await self._board.read()
        if published is None or published == self._loaded:
            return
        gauge("weights_version_skew").set(published.version - self._engine.version)
        try:
            await self._load(published)
        except EngineDead:
            raise
        except HiperError as error:
            counter("weights_failures_total").labels(stage="fetch").inc()
            self._log.warning(
                "weights could not be fetched; trying again", policy_version=published.version, error=str(error)
            )

    async def wait_for(self, version: int) -> None:
        """Return once the engine's weights are `version` or newer."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.synced and self._engine.version >= version)

    async def _load(self, published: PublishedPolicy) -> None:
        source = source_for(published.uri)
        with histogram("weights_load_duration_seconds").labels(phase="fetch").time():
            directory = await asyncio.to_thread(
                source.fetch, published.version, published.uri, published.manifest_sha256
            )
        await self._engine.load_weights(directory, PolicyVersion(published.version))
        gauge("rollout_policy_version").set(published.version)
        gauge("weights_version_skew").set(0)
        self._log.info("weights loaded", policy_version=published.version)
        async with self._changed:
            self._loaded = published
            self._changed.notify_all()
