"""`hiper.env.v1.EnvService`: whole calls checked, batches, one status per item. The work is `SessionHost`'s.

Engines run inline: a step takes less than a tenth of a millisecond, and a batch gives the event loop a turn every few
milliseconds, so that game loads do not hold up other calls. More cores are used by more servers, between which clients
spread their sessions (README).
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import TypeVar

import grpc
import grpc.aio

from hiper import __version__
from hiper._proto.env.v1 import env_service_pb2 as pb
from hiper._proto.env.v1 import env_service_pb2_grpc as stubs
from hiper.config.sections import EnvSettings
from hiper.envs.base import TaskPin
from hiper.rpc.reasons import EnvReason
from services.env_server.host import SessionHost
from services.env_server.refusals import CODES, Refusal
from services.env_server.sessions import Answer
from services.env_server.wire import session_result, session_spec, step_result, task_info

__all__ = ["MAX_PAGE", "SERVICE", "EnvServicer"]

SERVICE = pb.DESCRIPTOR.services_by_name["EnvService"].full_name
MAX_PAGE = 5000
_DEFAULT_PAGE = 1000
_TURN_S = 0.005
"""Work done before the event loop gets a turn."""

Item = TypeVar("Item")


class EnvServicer(stubs.EnvServiceServicer):
    """One server process. `incarnation` tells its clients whether it is still the same one."""

    def __init__(self, host: SessionHost, settings: EnvSettings, incarnation: str) -> None:
        self._host = host
        self._source = host.source
        self._settings = settings
        self._calls = host.measures.calls
        self._incarnation = incarnation

    async def GetInfo(self, _request: pb.GetInfoRequest, _context: grpc.aio.ServicerContext) -> pb.GetInfoResponse:  # noqa: N802
        """Describe this server."""
        with self._calls["GetInfo"].time():
            return pb.GetInfoResponse(
                env=self._source.env,
                version=__version__,
                data_version=self._source.version,
                incarnation=self._incarnation,
                max_sessions=self._settings.max_sessions,
                sessions=len(self._host.table),
                max_items=self._settings.max_items,
                lease_seconds=self._settings.lease_s,
                splits={split: len(self._source.ids(split)) for split in self._source.splits()},
                fingerprint=self._source.fingerprint(),
            )

    async def CreateSessions(  # noqa: N802
        self, request: pb.CreateSessionsRequest, context: grpc.aio.ServicerContext
    ) -> pb.CreateSessionsResponse:
        """Create sessions; a repeat changes nothing."""
        with self._calls["CreateSessions"].time():
            await self._check_size(request.sessions, context)
            reply = pb.CreateSessionsResponse(incarnation=self._incarnation)
            async for item, late in _paced(request.sessions, context):
                outcome = late or self._host.create(session_spec(item))
                reply.results.append(session_result(item.session_id, outcome))
            self._host.observe()
            return reply

    async def BatchReset(  # noqa: N802
        self, request: pb.BatchResetRequest, context: grpc.aio.ServicerContext
    ) -> pb.BatchResetResponse:
        """Start episodes."""
        with self._calls["BatchReset"].time():
            await self._check_size(request.session_ids, context)
            reply = pb.BatchResetResponse(incarnation=self._incarnation)
            async for session_id, late in _paced(request.session_ids, context):
                outcome = late or self._host.reset(session_id)
                reply.results.append(step_result(session_id, outcome))
            return reply

    async def BatchStep(  # noqa: N802
        self, request: pb.BatchStepRequest, context: grpc.aio.ServicerContext
    ) -> pb.BatchStepResponse:
        """Play one action each."""
        with self._calls["BatchStep"].time():
            await self._check_size(request.items, context)
            reply = pb.BatchStepResponse(incarnation=self._incarnation)
            seen: set[str] = set()
            async for item, late in _paced(request.items, context):
                outcome = late or _repeated(item.session_id, seen) or self._step(item)
                reply.results.append(step_result(item.session_id, outcome))
            return reply

    async def CloseSessions(  # noqa: N802
        self, request: pb.CloseSessionsRequest, context: grpc.aio.ServicerContext
    ) -> pb.CloseSessionsResponse:
        """Free sessions."""
        with self._calls["CloseSessions"].time():
            await self._check_size(request.session_ids, context)
            closed = sum(self._host.close(session_id) for session_id in request.session_ids)
            self._host.observe()
            return pb.CloseSessionsResponse(incarnation=self._incarnation, closed=closed)

    async def ListTasks(  # noqa: N802
        self, request: pb.ListTasksRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListTasksResponse:
        """List tasks by id, or those of a split after the page token: the id the previous page ended with."""
        with self._calls["ListTasks"].time():
            page, next_page_token = await self._page(request, context)
            reply = pb.ListTasksResponse(next_page_token=next_page_token)
            async for task_id, late in _paced(page, context):
                pin = late or self._host.pin(task_id, full=request.full)
                if isinstance(pin, TaskPin):
                    reply.tasks.append(task_info(pin))
                elif pin.reason is not EnvReason.UNKNOWN_TASK:  # unknown ones are left out
                    await _abort(context, pin.reason, pin.message)
            return reply

    def _step(self, item: pb.StepItem) -> Answer | Refusal:
        return self._host.step(item.session_id, item.step_index, item.action)

    async def _page(self, request: pb.ListTasksRequest, context: grpc.aio.ServicerContext) -> tuple[Sequence[str], str]:
        """Ids of the tasks to list now, and the token of the next page."""
        if max(request.page_size, len(request.task_ids)) > MAX_PAGE:
            await _abort(context, EnvReason.PAGE_TOO_LARGE, f"page_size is at most {MAX_PAGE}, and so are task_ids")
        if request.task_ids:
            return request.task_ids, ""
        if request.split not in self._source.splits():
            valid = ", ".join(self._source.splits())
            await _abort(context, EnvReason.UNKNOWN_SPLIT, f"no split {request.split!r} here; there are: {valid}")
        ids = self._source.ids(request.split)
        start = bisect_right(ids, request.page_token) if request.page_token else 0
        page = ids[start : start + (request.page_size or _DEFAULT_PAGE)]
        return page, page[-1] if start + len(page) < len(ids) else ""

    async def _check_size(self, items: Collection[object], context: grpc.aio.ServicerContext) -> None:
        limit = self._settings.max_items
        if len(items) > limit:
            await _abort(context, EnvReason.TOO_MANY_ITEMS, f"{len(items)} items; one call takes at most {limit}")


async def _paced(
    items: Iterable[Item], context: grpc.aio.ServicerContext
) -> AsyncIterator[tuple[Item, Refusal | None]]:
    """Yield the items, with turns for the event loop, and with a refusal each once the call's deadline has passed."""
    remaining_s = context.time_remaining()
    started = turned = time.monotonic()
    for item in items:
        now = time.monotonic()
        if now - turned > _TURN_S:
            await asyncio.sleep(0)
            turned = time.monotonic()
        late = remaining_s is not None and now - started >= remaining_s
        yield item, Refusal(EnvReason.CALL_DEADLINE, "the call's deadline passed; ask for less") if late else None


def _repeated(session_id: str, seen: set[str]) -> Refusal | None:
    if session_id in seen:
        return Refusal(EnvReason.REPEATED_SESSION, "one call takes one action per session; send it again alone")
    seen.add(session_id)
    return None


async def _abort(context: grpc.aio.ServicerContext, reason: EnvReason, message: str) -> None:
    await context.abort(CODES[reason], f"{reason}: {message}")
