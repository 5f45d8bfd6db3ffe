"""Gather concurrent requests into batched calls.

One call is in flight at a time; whatever is asked for meanwhile makes up the next one. So a lone caller waits for
nobody, and many callers fill batches by themselves, without a timer to tune. The number of callers bounds the queue:
each waits for its own answer. A call is made for the traces of all its callers.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hiper import tracing

__all__ = ["Batcher"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Asked(Generic[Item, Result]):
    item: Item
    answer: asyncio.Future[Result]
    traceparent: str


class Batcher(Generic[Item, Result]):
    """Turns `submit` calls into calls of `send` with at most `max_items` items, answered in order."""

    def __init__(self, send: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], max_items: int) -> None:
        self._send = send
        self._max_items = max_items
        self._waiting: deque[_Asked[Item, Result]] = deque()
        self._pump: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """Return the answer to `item`; raises what `send` raised for its batch."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(item, answer, tracing.traceparent()))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run())
        return await answer

    async def aclose(self) -> None:
        """Stop; callers that still wait are cancelled."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        while self._waiting:
            self._waiting.popleft().answer.cancel()

    async def _run(self) -> None:
        while self._waiting:
            # One turn of the loop, so that callers woken together travel together.
            await asyncio.sleep(0)
            batch = [self._waiting.popleft() for _ in range(min(self._max_items, len(self._waiting)))]
            batch = [asked for asked in batch if not asked.answer.done()]  # callers that were cancelled
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[_Asked[Item, Result]]) -> None:
        try:
            with tracing.on_behalf([asked.traceparent for asked in batch]):
                results = await self._send([asked.item for asked in batch])
        except asyncio.CancelledError:
            for asked in batch:
                asked.answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - handed to every caller of the batch, none is lost
            for asked in batch:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
            return
        for asked, result in zip(batch, results, strict=True):
            if not asked.answer.done():
                asked.answer.set_result(result)
