"""One env server as the client sees it: a channel, batched calls, and errors sorted by what can be done about them.

- `SessionLost`: play on after a rebuild, here or elsewhere (the peer is away, was restarted, or forgot the session).
- `ServerFull`: come back after the hint.
- `DataError`: the task itself is unknown or corrupt there. `IntegrityError`: its content is not what was asked for.
- `RemoteError`: the request is wrong or refused for good; repeating it cannot help.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import grpc
import grpc.aio

from hiper._proto.common.v1 import types_pb2
from hiper._proto.env.v1 import env_service_pb2 as pb
from hiper._proto.env.v1 import env_service_pb2_grpc as stubs
from hiper.config.sections import EnvSettings
from hiper.envs.base import StepResult
from hiper.errors import DataError, IntegrityError, RemoteError
from hiper.rpc.batcher import Batcher
from hiper.rpc.channel import TRANSIENT, explain, open_channel
from hiper.rpc.env_addresses import Place
from hiper.rpc.patience import TryAgain
from hiper.rpc.reasons import EnvReason

__all__ = ["SAME_DATA", "EnvEndpoint", "ServerFull", "SessionLost"]

SAME_DATA = "all env servers of a run must host the same data and version"

Reply = TypeVar("Reply", pb.CreateSessionsResponse, pb.BatchResetResponse, pb.BatchStepResponse)
Answer = TypeVar("Answer")

_LOST = {EnvReason.UNKNOWN_SESSION, EnvReason.NOT_RESET, EnvReason.STEP_INDEX, EnvReason.ACTION_DIFFERS}
_LOST |= {EnvReason.CALL_DEADLINE}


class SessionLost(TryAgain):
    """The session cannot go on as it is; a rebuilt one can."""


class ServerFull(TryAgain):
    """No session is free; comes with the server's hint."""


class _HasStatus(Protocol):
    @property
    def status(self) -> types_pb2.ItemStatus: ...


class EnvEndpoint:
    """Calls to one server. Every method has a deadline and may be repeated."""

    def __init__(self, place: Place, settings: EnvSettings) -> None:
        self.address = place.address
        self.in_use = 0
        """Sessions the client has placed here, and calls about no session."""
        self.avoid_until = 0.0
        """Loop time before which other servers are preferred."""
        self._settings = settings
        self._channel = open_channel(place.address, server_name=place.server_name)
        self._stub = stubs.EnvServiceStub(self._channel)
        self._creates = Batcher(self._send_creates, settings.max_items)
        self._resets = Batcher(self._send_resets, settings.max_items)
        self._steps = Batcher(self._send_steps, settings.max_items)
        self._closes = Batcher(self._send_closes, settings.max_items)

    async def create(self, spec: pb.SessionSpec) -> tuple[pb.SessionResult, str]:
        """Create a session; returns its description and the server's incarnation."""
        result, incarnation = await self._creates.submit(spec)
        return self._checked("create", spec.session_id, result), incarnation

    async def reset(self, session_id: str, incarnation: str) -> StepResult:
        """Start the episode."""
        result, seen = await self._resets.submit(session_id)
        self._same_server(seen, incarnation)
        return _step_result(self._checked("reset", session_id, result))

    async def step(self, item: pb.StepItem, incarnation: str) -> StepResult:
        """Play one action."""
        result, seen = await self._steps.submit(item)
        self._same_server(seen, incarnation)
        return _step_result(self._checked("step", item.session_id, result))

    async def close(self, session_id: str) -> None:
        """Free a session."""
        await self._closes.submit(session_id)

    async def info(self) -> pb.GetInfoResponse:
        """Describe the server."""
        return await self._call("GetInfo", self._stub.GetInfo, pb.GetInfoRequest(), self._settings.step_timeout_s)

    async def list_tasks(self, request: pb.ListTasksRequest) -> pb.ListTasksResponse:
        """One page of tasks."""
        return await self._call("ListTasks", self._stub.ListTasks, request, self._settings.reset_timeout_s)

    async def aclose(self) -> None:
        """End every call and the channel."""
        for batcher in (self._creates, self._resets, self._steps, self._closes):
            await batcher.aclose()
        await self._channel.close()

    async def _send_creates(self, specs: Sequence[pb.SessionSpec]) -> Sequence[tuple[pb.SessionResult, str]]:
        request = pb.CreateSessionsRequest(sessions=specs)
        timeout_s = self._settings.reset_timeout_s
        reply = await self._call("CreateSessions", self._stub.CreateSessions, request, timeout_s)
        return [(result, reply.incarnation) for result in reply.results]

    async def _send_resets(self, session_ids: Sequence[str]) -> Sequence[tuple[pb.StepResult, str]]:
        request = pb.BatchResetRequest(session_ids=session_ids)
        reply = await self._call("BatchReset", self._stub.BatchReset, request, self._settings.reset_timeout_s)
        return [(result, reply.incarnation) for result in reply.results]

    async def _send_steps(self, items: Sequence[pb.StepItem]) -> Sequence[tuple[pb.StepResult, str]]:
        request = pb.BatchStepRequest(items=items)
        reply = await self._call("BatchStep", self._stub.BatchStep, request, self._settings.step_timeout_s)
        return [(result, reply.incarnation) for result in reply.results]

    async def _send_closes(self, session_ids: Sequence[str]) -> Sequence[None]:
        request = pb.CloseSessionsRequest(session_ids=session_ids)
        await self._call("CloseSessions", self._stub.CloseSessions, request, self._settings.step_timeout_s)
        return [None] * len(session_ids)

    async def _call(
        self, name: str, method: Callable[..., Awaitable[Answer]], request: object, timeout_s: float
    ) -> Answer:
        try:
            return await method(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            text = f"{self.address}: {name} within {timeout_s:g} s: {explain(error)}"
            if error.code() in TRANSIENT:
                raise SessionLost(text) from error
            raise RemoteError(f"env server {text}", "see the server's log") from error

    def _same_server(self, seen: str, expected: str) -> None:
        if seen != expected:
            raise SessionLost(f"{self.address}: the server was restarted")

    def _checked(self, call: str, session_id: str, result: "_Result") -> "_Result":
        status = result.status
        if status.code == 0:
            return result
        text = f"{self.address}: {call} of session {session_id}: {status.reason}: {status.message}"
        if status.reason in _LOST:
            raise SessionLost(text)
        if status.reason == EnvReason.SESSIONS_FULL:
            raise ServerFull(text, status.retry_after_seconds)
        if status.reason in (EnvReason.UNKNOWN_TASK, EnvReason.TASK_CORRUPT):
            raise DataError(f"env server {text}", "check that every env server hosts the data of this run")
        if status.reason == EnvReason.TASK_DIFFERS:
            raise IntegrityError(f"env server {text}", SAME_DATA)
        raise RemoteError(f"env server {text}", "see the table of reasons in services/env_server/README.md")


_Result = TypeVar("_Result", bound=_HasStatus)


def _step_result(result: pb.StepResult) -> StepResult:
    return StepResult(
        observation=result.observation,
        admissible=tuple(result.admissible),
        reward=result.reward,
        terminated=result.terminated,
        truncated=result.truncated,
        won=result.won,
        score=result.score,
        action_valid=result.action_valid,
        has_search_bar=result.has_search_bar if result.HasField("has_search_bar") else None,
    )
