"""Keeps the engine on the published policy.

The files are verified while the engine goes on generating; only the swap itself pauses it. A version that cannot be
fetched or loaded is counted and tried again, whole; the engine never generates with half of one. Episodes wait here for
the version their task asks for.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hiper import logs
from hiper.errors import HiperError, RemoteError
from hiper.failpoint import Failpoint, failpoint
from hiper.metrics import counter, gauge, histogram
from hiper.streams import PublishedPolicy
from hiper.vocabulary import PolicyVersion
from hiper.weights import WeightsSource
from services.rollout.engine import Engine, EngineDead, RequestRefused
from services.rollout.ports import PolicySource

__all__ = ["SyncBounds", "SyncParts", "WeightsSync"]

_MAX_FAILED_SWAPS = 3
"""Swaps that may fail in a row; the engine is paused after each, so that many mean that it will not recover."""
_RETRY_S = 1.0

Report = Callable[[bool, str], None]


@dataclass(frozen=True, slots=True)
class SyncParts:
    """What versions are announced on, brought here by, and loaded into."""

    board: PolicySource
    source: WeightsSource
    engine: Engine


@dataclass(frozen=True, slots=True)
class SyncBounds:
    """How often the board is read, and how long a version may take to come."""

    poll_s: float
    fetch_s: float = 900.0


class WeightsSync:
    """Follows the published policy. `report` is told whether the engine is in step, and what it waits for."""

    def __init__(
        self, parts: SyncParts, bounds: SyncBounds, report: Report, now: Callable[[], float] = time.time
    ) -> None:
        self._board = parts.board
        self._engine = parts.engine
        self._source = parts.source
        self._bounds = bounds
        self._report = report
        self._now = now
        self._loaded: PublishedPolicy | None = None
        self._failed_swaps = 0
        self._changed = asyncio.Condition()
        self._log = logs.get()

    async def run(self) -> None:
        """Follow for ever. Raises `EngineDead`, and `BrokerError` once the broker stays away."""
        while True:
            succeeded = await self.poll()
            await asyncio.sleep(self._bounds.poll_s if succeeded else max(_RETRY_S, self._bounds.poll_s))

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
            directory = await self._fetch(published)
        failpoint(Failpoint.ROLLOUT_BEFORE_SWAP)
        with duration.labels(phase="swap").time():
            await self._engine.load_weights(directory, version)
        failpoint(Failpoint.ROLLOUT_AFTER_SWAP)
        gauge("rollout_policy_version").set(version)
        gauge("weights_version_skew").set(0)
        if published.announced_at:
            taken = max(0.0, self._now() - published.announced_at)
            histogram("weights_end_to_end_duration_seconds").observe(taken)
        self._log.info("weights loaded", policy_version=version)
        self._report(True, f"policy version {version}")
        async with self._changed:
            self._loaded, self._failed_swaps = published, 0
            self._changed.notify_all()

    async def _fetch(self, published: PublishedPolicy) -> Path:
        fetching = asyncio.to_thread(self._source.fetch, published.version, published.uri, published.manifest_sha256)
        try:
            async with asyncio.timeout(self._bounds.fetch_s):
                return await fetching
        except TimeoutError as error:
            raise RemoteError(
                f"weights version {published.version} from {published.uri}: not here and verified within "
                f"{self._bounds.fetch_s:g} s (weights.fetch_timeout_s)"
            ) from error

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
