"""Calls of other people's code: each with a deadline, blocking ones on a bounded number of threads.

Python cannot end a thread, so a blocking call that overruns keeps its place until it returns by itself; only its caller
goes on. Once every place is held that way nothing more can be computed here, and `AllOverdue` says so instead of
waiting for ever. Threads are daemons: an endless call does not keep the process from ending.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from hiper.errors import DependencyError

__all__ = ["AllOverdue", "BoundedThreads", "CallFailed", "Overdue", "within"]

T = TypeVar("T")


class CallFailed(Exception):  # noqa: N818 - an expected turn of events
    """The code that was called raised; `__cause__` is what."""


class Overdue(Exception):  # noqa: N818 - an expected turn of events
    """The call did not end within its deadline."""


class AllOverdue(DependencyError):  # noqa: N818 - named for the state it reports
    """Every thread is held by a call that does not end."""


async def within(seconds: float, call: Coroutine[Any, Any, T]) -> T:
    """Await `call` for at most `seconds`. Raises `Overdue`, or `CallFailed` for whatever it raised."""
    task = _start(call)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
    if not task.done():
        raise Overdue
    return _result(task)


class BoundedThreads:
    """At most `limit` blocking calls at once; more wait for a place, and their deadline starts when they have one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._busy = 0
        self._overdue: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Condition()

    async def call(self, seconds: float, function: Callable[[], T]) -> T:
        """Run `function` on a thread. Raises `Overdue`, `CallFailed` or `AllOverdue`."""
        await self._take_place()
        task = _start(self._run(function))
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return _result(task)
        async with self._changed:
            if not task.done():
                self._overdue.add(task)
                self._changed.notify_all()
        raise Overdue

    async def _take_place(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._busy < self._limit or len(self._overdue) == self._limit)
            if self._busy == self._limit:
                raise AllOverdue(
                    f"all {self._limit} threads of reward terms are held by calls past their deadline",
                    "mend the term that never returns, or raise its timeout_s; its errors are in the dead letters",
                )
            self._busy += 1

    async def _run(self, function: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[tuple[T | None, BaseException | None]] = loop.create_future()

        def work() -> None:
            value: T | None = None
            error: BaseException | None = None
            try:
                value = function()
            except BaseException as raised:  # noqa: BLE001 - of any kind: it is carried to the caller
                error = raised
            with suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits any more
                loop.call_soon_threadsafe(_settle, ended, (value, error))

        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(work,), daemon=True, name="reward-term").start()
        try:
            value, error = await ended
        finally:
            async with self._changed:
                self._busy -= 1
                self._overdue.difference_update({asyncio.current_task()})
                self._changed.notify_all()
        if error is not None:
            raise CallFailed from error
        return value  # type: ignore[return-value]  # it is a T wherever there is no error


def _settle(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _start(call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task whose error, if nobody waits for it any more, is nobody's business."""
    task = asyncio.create_task(call)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return task


def _result(task: asyncio.Task[T]) -> T:
    """The result of a task that is done. Raises `CallFailed`."""
    if task.cancelled():
        raise CallFailed from asyncio.CancelledError("it cancelled itself")
    error = task.exception()
    if isinstance(error, CallFailed):
        raise error
    if error is not None:
        raise CallFailed from error
    return task.result()
