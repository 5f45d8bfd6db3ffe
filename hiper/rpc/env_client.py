"""Play episodes on env servers that may stall, restart or vanish.

A session sticks to one server. When that server is lost, the session is rebuilt on any server by replaying its
actions; the last observation must come out the same (`IntegrityError` otherwise), so a player never sees a difference.
Concurrent calls travel in batches. No call takes longer than `EnvSettings.unavailable_timeout_s` (`RemoteError`).

Each placement of a session uses a server-side id of its own, so neither a lost placement that comes back to life nor a
second player of the same trajectory can interfere.
"""

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from hiper import logs, tracing
from hiper._proto.env.v1 import env_service_pb2 as pb
from hiper.config.sections import EnvSettings
from hiper.envs.base import StepResult, TaskPin
from hiper.errors import IntegrityError, RemoteError, RunStateError
from hiper.metrics import counter
from hiper.rpc.env_addresses import Directory
from hiper.rpc.env_endpoint import SAME_DATA, EnvEndpoint, SessionLost
from hiper.rpc.env_fleet import EnvFleet
from hiper.rpc.patience import TryAgain, persist

__all__ = ["MAX_ACTION_BYTES", "EnvClient", "EnvInfo", "EnvStep"]

MAX_ACTION_BYTES = 4096
"""Longer actions are cut before they are sent. No action on offer is that long, so the cut changes no outcome."""
_PAGE = 1000

EnvStep = StepResult
"""Answers are those of the environment interface, wherever the environment runs."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class EnvInfo:
    """What a server hosts."""

    env: str
    data_version: str
    incarnation: str
    sessions: int
    splits: dict[str, int]
    """Number of tasks by split."""
    fingerprint: dict[str, str]
    """What all its tasks share (`TaskSource.fingerprint`)."""


@dataclass(frozen=True, slots=True)
class _Placement:
    endpoint: EnvEndpoint
    wire_id: str
    incarnation: str


@dataclass(slots=True)
class _Session:
    session_id: str
    task_id: str
    seed: int
    max_steps: int
    info: TaskPin
    actions: list[str] = field(default_factory=list)
    digest: bytes = b""
    """Hash of what the player saw last; empty before the first observation."""
    placement: _Placement | None = None
    placements: int = 0


class EnvClient:
    """Sessions on the servers of `settings.addresses`. An async context manager; `aclose` frees the sessions left open.

    One session takes one call at a time; different sessions may be played concurrently.
    """

    def __init__(self, settings: EnvSettings, directory: Directory | None = None) -> None:
        self._settings = settings
        self._fleet = EnvFleet(settings, directory or Directory(settings.addresses))
        self._sessions: dict[str, _Session] = {}
        self._nonce = uuid.uuid4().hex[:8]
        self._log = logs.get()

    async def __aenter__(self) -> "EnvClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Free every session and close the channels."""
        await asyncio.gather(*(self.close(session_id) for session_id in list(self._sessions)))
        await self._fleet.aclose()

    async def info(self) -> EnvInfo:
        """Describe a server that answers."""
        reply = await self._anywhere("GetInfo", lambda endpoint: endpoint.info())
        return EnvInfo(
            reply.env,
            reply.data_version,
            reply.incarnation,
            reply.sessions,
            dict(reply.splits),
            dict(reply.fingerprint),
        )

    async def list_tasks(self, split: str) -> list[TaskPin]:
        """Return every task of `split`, sorted by id."""
        tasks: list[TaskPin] = []
        request = pb.ListTasksRequest(split=split, page_size=_PAGE)
        while True:
            reply = await self._anywhere("ListTasks", partial(_list_tasks, request=request))
            tasks += map(_pin, reply.tasks)
            request.page_token = reply.next_page_token
            if not request.page_token:
                return tasks

    async def pin_tasks(self, task_ids: Sequence[str], *, full: bool = False) -> dict[str, TaskPin]:
        """Return what the servers have of these tasks, by id; unknown ones are missing. `full`: with second hashes."""
        pins: dict[str, TaskPin] = {}
        for start in range(0, len(task_ids), _PAGE):
            request = pb.ListTasksRequest(task_ids=task_ids[start : start + _PAGE], full=full)
            reply = await self._anywhere("ListTasks", partial(_list_tasks, request=request))
            pins |= {task.task_id: _pin(task) for task in reply.tasks}
        return pins

    async def open(self, session_id: str, task_id: str, seed: int, max_steps: int) -> EnvStep:
        """Create and reset a session; returns the first observation. `max_steps` 0 = no limit.

        Raises `DataError` for a task the server cannot play and `RemoteError` if no server took it in time.
        """
        if session_id in self._sessions:
            raise RunStateError(f"session {session_id} is already open", "close it first")
        session = _Session(session_id, task_id, seed, max_steps, TaskPin(task_id, "", ""))
        with tracing.span("env.open", tracing.Kind.CLIENT, {"hiper.task_id": task_id}):
            first = await self._persist(f"open of session {session_id}", lambda: self._place(session))
        session.digest = _digest(first)
        self._sessions[session_id] = session
        return first

    def describe(self, session_id: str) -> TaskPin:
        """Type, split and hash of an open session's task."""
        return self._session(session_id).info

    async def step(self, session_id: str, action: str) -> EnvStep:
        """Play `action`. Raises `RemoteError` after the end of the episode or when no server answers in time."""
        session = self._session(session_id)
        action = _clip(action)
        with tracing.span("env.step", tracing.Kind.CLIENT, {"hiper.turn": len(session.actions)}):
            result = await self._persist(f"step of session {session_id}", lambda: self._step(session, action))
        session.actions.append(action)
        session.digest = _digest(result)
        return result

    async def close(self, session_id: str) -> None:
        """Free a session; unknown ids are ignored. A server that is away is no error: its lease frees the session."""
        session = self._sessions.pop(session_id, None)
        if session is None or session.placement is None:
            return
        placement = session.placement
        try:
            await placement.endpoint.close(placement.wire_id)
        except (SessionLost, RemoteError) as error:
            self._log.info("session left to its lease", session=session_id, error=str(error))
        finally:
            self._leave(session)

    def _session(self, session_id: str) -> _Session:
        session = self._sessions.get(session_id)
        if session is None:
            raise RunStateError(f"session {session_id} is not open", "open it first")
        return session

    async def _step(self, session: _Session, action: str) -> EnvStep:
        if session.placement is None:
            await self._place(session)
        placement = session.placement
        assert placement is not None
        item = pb.StepItem(session_id=placement.wire_id, step_index=len(session.actions) + 1, action=action)
        try:
            return await placement.endpoint.step(item, placement.incarnation)
        except SessionLost as error:
            self._leave(session)
            self._fleet.avoid(placement.endpoint, error)
            raise

    async def _place(self, session: _Session) -> EnvStep:
        """Put `session` on a server and replay what was played; returns the answer to the last action."""
        endpoint = await self._fleet.pick()
        try:
            placement, answer = await self._replay(session, endpoint)
            if session.digest:
                self._check_replay(session, answer, endpoint)
        except BaseException as error:
            endpoint.in_use -= 1
            if isinstance(error, TryAgain):
                self._fleet.avoid(endpoint, error)
            raise
        session.placement = placement
        return answer

    async def _replay(self, session: _Session, endpoint: EnvEndpoint) -> tuple[_Placement, EnvStep]:
        wire_id = f"{session.session_id}~{self._nonce}-{session.placements}"
        session.placements += 1
        spec = pb.SessionSpec(
            session_id=wire_id,
            task_id=session.task_id,
            seed=session.seed,
            max_steps=session.max_steps,
            sha256=session.info.sha256,  # empty at first; what a rebuild must find again
        )
        created, incarnation = await endpoint.create(spec)
        session.info = TaskPin(session.task_id, created.task_type, created.split, created.sha256)
        answer = await endpoint.reset(wire_id, incarnation)
        for index, action in enumerate(session.actions, 1):
            item = pb.StepItem(session_id=wire_id, step_index=index, action=action)
            answer = await endpoint.step(item, incarnation)
        return _Placement(endpoint, wire_id, incarnation), answer

    def _check_replay(self, session: _Session, answer: EnvStep, endpoint: EnvEndpoint) -> None:
        if _digest(answer) != session.digest:
            raise IntegrityError(
                f"session {session.session_id}: replaying {len(session.actions)} actions of task {session.task_id} on "
                f"{endpoint.address} gave another observation",
                SAME_DATA,
            )
        counter("rollout_env_recoveries_total").inc()
        self._log.info("session rebuilt", session=session.session_id, peer=endpoint.address, turns=len(session.actions))

    def _leave(self, session: _Session) -> None:
        if session.placement is not None:
            session.placement.endpoint.in_use -= 1
            session.placement = None

    async def _anywhere(self, call: str, ask: Callable[[EnvEndpoint], Awaitable[Answer]]) -> Answer:
        async def attempt() -> Answer:
            endpoint = await self._fleet.pick()
            try:
                return await ask(endpoint)
            except SessionLost as error:
                self._fleet.avoid(endpoint, error)
                raise
            finally:
                endpoint.in_use -= 1

        return await self._persist(call, attempt)

    async def _persist(self, call: str, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        budget_s = self._settings.unavailable_timeout_s
        peers = ", ".join(self._settings.addresses)

        def give_up(last: str) -> RemoteError:
            return RemoteError(
                f"{call} found no working env server for {budget_s:g} s (env.unavailable_timeout_s) at {peers}; "
                f"last answer: {last}",
                "check that the env servers run and are reachable at env.addresses",
            )

        return await persist(attempt, budget_s, give_up)


async def _list_tasks(endpoint: EnvEndpoint, *, request: pb.ListTasksRequest) -> pb.ListTasksResponse:
    return await endpoint.list_tasks(request)


def _pin(task: pb.TaskInfo) -> TaskPin:
    return TaskPin(task.task_id, task.task_type, task.split, task.sha256, task.content_sha256)


def _clip(action: str) -> str:
    encoded = action.encode("utf-8", errors="replace")
    return encoded[:MAX_ACTION_BYTES].decode("utf-8", errors="ignore")


def _digest(result: EnvStep) -> bytes:
    """Hash what a player sees."""
    digest = hashlib.sha256()
    for text in (result.observation, *result.admissible):
        digest.update(text.encode())
        digest.update(b"\0")
    digest.update(repr((result.reward, result.terminated, result.truncated, result.score)).encode())
    return digest.digest()
