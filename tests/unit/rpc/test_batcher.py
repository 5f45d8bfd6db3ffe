"""Batches form while a call is in flight; every caller gets its own answer."""

import asyncio
from collections.abc import Sequence

import pytest

from hiper.rpc.batcher import Batcher


class Doubler:
    """Answers 2x, and holds calls until `gate` is open."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.called = asyncio.Event()

    async def send(self, items: Sequence[int]) -> Sequence[int]:
        self.calls.append(list(items))
        self.called.set()
        await self.gate.wait()
        if -1 in items:
            raise ValueError("refused")
        return [2 * item for item in items]


async def test_callers_of_one_moment_share_calls_up_to_the_limit() -> None:
    doubler = Doubler()
    batcher = Batcher(doubler.send, max_items=4)
    assert await asyncio.gather(*(batcher.submit(n) for n in range(10))) == [2 * n for n in range(10)]
    assert [len(call) for call in doubler.calls] == [4, 4, 2]


async def test_what_is_asked_during_a_call_makes_up_the_next() -> None:
    doubler = Doubler()
    batcher = Batcher(doubler.send, max_items=100)
    doubler.gate.clear()
    first = asyncio.create_task(batcher.submit(1))
    await doubler.called.wait()
    rest = [asyncio.create_task(batcher.submit(n)) for n in (2, 3, 4)]
    await asyncio.sleep(0)
    doubler.gate.set()
    assert await asyncio.gather(first, *rest) == [2, 4, 6, 8]
    assert doubler.calls == [[1], [2, 3, 4]]


async def test_a_failed_call_fails_its_callers_and_no_later_one() -> None:
    batcher = Batcher(Doubler().send, max_items=10)
    results = await asyncio.gather(batcher.submit(-1), batcher.submit(5), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]
    assert await batcher.submit(5) == 10


async def test_a_caller_that_gives_up_does_not_disturb_the_others() -> None:
    doubler = Doubler()
    batcher = Batcher(doubler.send, max_items=10)
    doubler.gate.clear()
    callers = [asyncio.create_task(batcher.submit(n)) for n in (1, 2)]
    await doubler.called.wait()
    callers[0].cancel()
    doubler.gate.set()
    assert await callers[1] == 4
    with pytest.raises(asyncio.CancelledError):
        await callers[0]


async def test_closing_ends_callers_that_wait() -> None:
    doubler = Doubler()
    batcher = Batcher(doubler.send, max_items=1)
    doubler.gate.clear()
    callers = [asyncio.create_task(batcher.submit(n)) for n in (1, 2)]
    await doubler.called.wait()
    await batcher.aclose()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2
