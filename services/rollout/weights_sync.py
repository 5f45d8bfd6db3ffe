"""Keeps the engine on the published policy.

The files are verified while the engine goes on generating; only the swap itself pauses it. A version that cannot be
fetched or loaded is counted and tried again, whole; the engine never generates with half of one. Episodes wait here for
the version their task asks for.
"""

import asyncio
from collections.abc import Callable

from hiper import logs
from hiper.errors import HiperError
from hiper.failpoint import Failpoint, failpoint
from hiper.metrics import counter, gauge, histogram
from hiper.streams import PublishedPolicy
from hiper.vocabulary import PolicyVersion
from hiper.weights import source_for
from services.rollout.engine import Engine, EngineDead, RequestRefused
from services.rollout.ports import PolicySource

__all__ = ["WeightsSync"]

_MAX_FAILED_SWAPS = 3
"""Swaps that may fail in a row; the engine is paused after each, so that many mean that it will not recover."""
_RETRY_S = 1.0

Report = Callable[[bool, str], None]


class WeightsSync:
    """Follows the published policy. `report` is told whether the engine is in step, and what it waits for."""

    def __init__(self, board: PolicySource, engine: Engine, poll_s: float, report: Report) -> None:
        self._board = board
        self._engine = engine
        self._poll_s = poll_s
        self._report = report
        self._loaded: PublishedPolicy | None = None
        self._failed_swaps = 0
        self._changed = asyncio.Condition()
        self._log = logs.get()

    async def run(self) -> None:
        """Follow for ever. Raises `EngineDead`, and `BrokerError` once the broker stays away."""
        while True:
            succeeded = await self.poll()
            await asyncio.sleep(self._poll_s if succeeded else max(_RETRY_S, self._poll_s))

    async def poll(self) -> bool:
        """Take in the published policy if it is another one than the engine's; False if that failed."""
        published = await self._board.read()
        if published is None or published == self._loaded:
            return True
        gauge("weights_version_skew").set(published.version - self._engine.version)
        try:
            await self._load(published)
        except EngineDead:
            raise
        except HiperError as error:
            self._failed(published, error)
            return False
        return True

    async def wait_for(self, version: int) -> None:
        """Return once a published version was loaded and the engine's is `version` or newer."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._loaded is not None and self._engine.version >= version)

    async def _load(self, published: PublishedPolicy) -> None:
        version = PolicyVersion(published.version)
        duration = histogram("weights_load_duration_seconds")
        with duration.labels(phase="fetch").time():
            source = source_for(published.uri)
            directory = await asyncio.to_thread(source.fetch, version, published.uri, published.manifest_sha256)
        failpoint(Failpoint.ROLLOUT_BEFORE_SWAP)
        with duration.labels(phase="swap").time():
            await self._engine.load_weights(directory, version)
        failpoint(Failpoint.ROLLOUT_AFTER_SWAP)
        gauge("rollout_policy_version").set(version)
        gauge("weights_version_skew").set(0)
        self._log.info("weights loaded", policy_version=version)
        self._report(True, f"policy version {version}")
        async with self._changed:
            self._loaded, self._failed_swaps = published, 0
            self._changed.notify_all()

    def _failed(self, published: PublishedPolicy, error: HiperError) -> None:
        swap = isinstance(error, RequestRefused)
        counter("weights_failures_total").labels(stage="swap" if swap else "fetch").inc()
        self._log.warning("weights not loaded, trying again", policy_version=published.version, error=str(error))
        self._report(self._loaded is not None and not swap, f"version {published.version}: {error}")
        self._failed_swaps += swap
        if self._failed_swaps >= _MAX_FAILED_SWAPS:
            raise EngineDead(
                f"the engine refused weights version {published.version} {self._failed_swaps} times: {error.message}",
                "this process ends so that a fresh engine can load them",
            ) from error
