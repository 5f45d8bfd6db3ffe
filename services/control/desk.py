"""What the API knows of a run: its broker, asked on demand, and its directory.

The broker is connected at the first question and again after the run's data changed hands; no question waits for it
longer than `PATIENCE_S`. Nothing here keeps state of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self, TypeVar

from hiper.config import RunConfig
from hiper.report import RunFiles
from hiper.streams import Broker, BrokerLost

__all__ = ["PATIENCE_S", "Desk"]

PATIENCE_S = 3.0
T = TypeVar("T")


class Desk:
    """One run, as control sees it; an async context manager."""

    def __init__(self, config: RunConfig, run_dir: Path, name: str) -> None:
        self.config = config
        self.files = RunFiles(run_dir)
        self._name = name
        self._broker: Broker | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._forget()

    async def ask(self, question: Callable[[Broker], Awaitable[T]]) -> T:
        """Put a question to the run's broker. Raises `BrokerError` after `PATIENCE_S`."""
        try:
            return await question(await self._open())
        except BrokerLost:
            await self._forget()
            raise

    async def _open(self) -> Broker:
        async with self._opening:
            if self._broker is None:
                settings = self.config.broker.model_copy(update={"unavailable_timeout_s": PATIENCE_S})
                broker = await Broker.connect(settings, self.config.run, self._name)
                try:
                    await broker.join_run(PATIENCE_S)
                except BaseException:
                    await broker.close()
                    raise
                self._broker = broker
            return self._broker

    async def _forget(self) -> None:
        broker, self._broker = self._broker, None
        if broker is not None:
            await broker.close()
