"""An event loop whose time is virtual and whose order of ready callbacks is drawn from a seed.

When nothing is ready, time jumps to the next timer: a run that would take minutes takes milliseconds, and the same seed
gives the same run. Threads are run inline, so nothing happens that the seed does not decide.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar
from unittest import mock

T = TypeVar("T")
_EPOCH_S = 1_700_000_000.0
"""What `time.time` begins with: brokers tell entries by wall-clock milliseconds."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module. `steps` counts rounds of the loop."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.steps = 0
        self._dice = random.Random(seed)
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # type: ignore[override]
        future: asyncio.Future[T] = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits the future
                future.set_exception(error)

        self.call_soon(run)
        return future

    def _run_once(self) -> None:
        self.steps += 1
        ready: deque[Any] = self._ready  # type: ignore[attr-defined]
        if ready:
            shuffled = list(ready)
            self._dice.shuffle(shuffled)
            ready.clear()
            ready.extend(shuffled)
        else:
            timers = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
            if not timers:
                raise RuntimeError("everybody waits for everybody: a deadlock")
            self._now = max(self._now, min(timers))
        super()._run_once()  # type: ignore[misc]


@contextlib.contextmanager
def virtual_time(loop: VirtualLoop) -> Iterator[None]:
    """Let every clock of the process show the loop's time."""

    def wall_clock() -> float:
        return _EPOCH_S + loop.time()

    with (
        mock.patch.object(time, "time", wall_clock),
        mock.patch.object(time, "monotonic", loop.time),
        mock.patch.object(time, "perf_counter", loop.time),
    ):
        yield


def simulate(seed: int, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main` under the schedule of `seed`."""
    loop = VirtualLoop(seed)
    random.seed(seed)  # the services draw their pauses from the common generator
    try:
        with virtual_time(loop):
            try:
                return loop.run_until_complete(main())
            finally:
                loop.run_until_complete(_bury())
    finally:
        loop.close()


async def _bury() -> None:
    """End the tasks of killed processes, which wait for answers that never come."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.sleep(0)
