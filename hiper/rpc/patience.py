"""Repeat an idempotent remote operation for a bounded time."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from hiper.errors import RemoteError

__all__ = ["TryAgain", "persist"]

_FIRST_WAIT_S = 0.1
_LAST_WAIT_S = 2.0

Answer = TypeVar("Answer")


class TryAgain(Exception):  # noqa: N818 - an expected turn of events, handled by `persist`
    """An attempt failed in a way that a repeat may mend."""

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s
        """When the peer said to come back; None = up to the caller."""


async def persist(
    attempt: Callable[[], Awaitable[Answer]], budget_s: float, give_up: Callable[[str], RemoteError]
) -> Answer:
    """Repeat `attempt` while it raises `TryAgain`, with growing pauses and jitter.

    After `budget_s` seconds, a hanging attempt included, raises `give_up(<the last failure>)`.
    """
    wait_s = _FIRST_WAIT_S
    last: TryAgain | None = None
    try:
        async with asyncio.timeout(budget_s):
            while True:
                try:
                    return await attempt()
                except TryAgain as error:
                    last = error
                pause_s = wait_s if last.after_s is None else last.after_s
                await asyncio.sleep(pause_s * random.uniform(0.75, 1.25))
                wait_s = min(wait_s * 2, _LAST_WAIT_S)
    except TimeoutError:
        raise give_up(str(last or "no answer")) from last
