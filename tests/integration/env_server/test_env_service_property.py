"""Random calls to a real gRPC server against a model that knows only the promises: what lives, and what it last said.

The model plays the same games itself, so an answer is right only if every earlier call did what it should, and the
server holds exactly the sessions the model holds: nothing refused, repeated, closed or expired leaves anything behind.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from env_harness import SMALL, InProcess, in_process
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hiper._proto.env.v1 import env_service_pb2 as pb
from hiper._proto.env.v1 import env_service_pb2_grpc as stubs
from hiper.config.sections import EnvSettings
from hiper.envs.base import Episode, StepResult, TaskSource
from hiper.envs.configured import open_configured_source
from services.env_server.refusals import CODES

MAX_SESSIONS, LEASE_S, LIMIT = 2, 10.0, 2
SETTINGS = EnvSettings(**SMALL, max_sessions=MAX_SESSIONS, lease_s=LEASE_S, max_items=4)
IDS = ("s0", "s0", "s1", "s2", "")
TASKS = (0, 1, None)
"""Games by number; None: one that does not exist."""


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Running:
    """A server on a thread of its own, so that the machine can make plain blocking calls to it."""

    def __init__(self, source: TaskSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._up: Future[tuple[InProcess, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self.server, self._loop, self._stop = self._up.result(timeout=30)

    async def _serve(self) -> None:
        stop = asyncio.Event()
        async with in_process(SETTINGS, source=self._source, clock=self._clock) as server:
            self._up.set_result((server, asyncio.get_running_loop(), stop))
            await stop.wait()

    def run(self, work: Callable[[InProcess], None]) -> None:
        """Do `work` on the server's own thread, and wait for it."""

        async def on_loop() -> None:
            work(self.server)

        asyncio.run_coroutine_threadsafe(on_loop(), self._loop).result(timeout=30)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()


@dataclass
class Live:
    """What the model knows of a session."""

    task: int
    episode: Episode
    touched_s: float
    played: int = -1
    """Index of the last answer; -1 before the reset."""
    answer: StepResult | None = None
    action: str = ""


class ServerAgainstModel(RuleBasedStateMachine):
    source = open_configured_source(SETTINGS)

    @initialize()
    def start(self) -> None:
        self.clock = Clock()
        self.running = Running(self.source, self.clock)
        self.channel = grpc.insecure_channel(self.running.server.address)
        self.stub = stubs.EnvServiceStub(self.channel)
        self.tasks = self.source.ids("train")
        self.live: dict[str, Live] = {}
        self.create([("s0", 0, False)])
        self.reset(["s0"])

    def teardown(self) -> None:
        self.channel.close()
        self.running.close()

    @rule(specs=st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(TASKS), st.booleans()), max_size=6))
    def create(self, specs: list[tuple[str, int | None, bool]]) -> None:
        messages = [
            pb.SessionSpec(
                session_id=session_id,
                task_id="no/such/task" if task is None else self.tasks[task],
                max_steps=LIMIT,
                sha256="f" * 64 if other else "",
            )
            for session_id, task, other in specs
        ]
        request = pb.CreateSessionsRequest(sessions=messages)
        for result, spec in self.answers(self.stub.CreateSessions, request, specs):
            self.agree(result.status, self.created(*spec))

    def created(self, session_id: str, task: int | None, other: bool) -> str:
        if task is None:
            return "UNKNOWN_TASK"
        if other:
            return "TASK_DIFFERS"
        if not session_id:
            return "BAD_SESSION_ID"
        if session_id in self.live:
            if self.live[session_id].task != task:
                return "SESSION_EXISTS"
            self.touch(session_id)
            return ""
        if len(self.live) >= MAX_SESSIONS:
            self.expire()
        if len(self.live) >= MAX_SESSIONS:
            return "SESSIONS_FULL"
        self.live[session_id] = Live(task, self.source.open(self.tasks[task], max_steps=LIMIT), self.clock.now_s)
        return ""

    @rule(ids=st.lists(st.sampled_from(IDS), max_size=6))
    def reset(self, ids: list[str]) -> None:
        for result, session_id in self.answers(self.stub.BatchReset, pb.BatchResetRequest(session_ids=ids), ids):
            session = self.live.get(session_id)
            self.agree(result.status, "" if session else "UNKNOWN_SESSION")
            if session:
                self.touch(session_id)
                session.played, session.answer, session.action = 0, session.episode.reset(), ""
                self.same(result, session)

    @rule(
        moves=st.lists(
            st.tuples(st.sampled_from(IDS), st.sampled_from((-1, 0, 1, 1, 1, 2)), st.sampled_from((0, 1, 1, 1, 2, 3))),
            max_size=6,
        )
    )
    def step(self, moves: list[tuple[str, int, int]]) -> None:
        wanted = [(session_id, *self.move(session_id, offset, choice)) for session_id, offset, choice in moves]
        items = [pb.StepItem(session_id=s, step_index=index, action=action) for s, index, action in wanted]
        seen: set[str] = set()
        for result, (session_id, index, action) in self.answers(
            self.stub.BatchStep, pb.BatchStepRequest(items=items), wanted
        ):
            if session_id in seen:
                self.agree(result.status, "REPEATED_SESSION")
                continue
            seen.add(session_id)
            refused = self.stepped(session_id, index, action)
            self.agree(result.status, refused)
            if not refused:
                self.same(result, self.live[session_id])

    def move(self, session_id: str, offset: int, choice: int) -> tuple[int, str]:
        """An index near the last one, and: the last action again, one on offer, one that is not, or one too long."""
        session = self.live.get(session_id)
        offered = session.answer.admissible if session and session.answer else ("look",)
        actions = (session.action if session else "", offered[len(offered) // 2], "sing", "x" * 2**20)
        return max((session.played if session else 0) + offset, 0), actions[choice]

    def stepped(self, session_id: str, index: int, action: str) -> str:
        session = self.live.get(session_id)
        if session is None:
            return "UNKNOWN_SESSION"
        self.touch(session_id)
        if len(action) > 4096:
            return "ACTION_TOO_LONG"
        if session.answer is None:
            return "NOT_RESET"
        if index == session.played and index > 0:
            return "" if action == session.action else "ACTION_DIFFERS"
        if index != session.played + 1:
            return "STEP_INDEX"
        if session.answer.done:
            return "EPISODE_OVER"
        session.played, session.answer, session.action = index, session.episode.step(action), action
        return ""

    @rule(ids=st.lists(st.sampled_from(IDS), max_size=6))
    def close(self, ids: list[str]) -> None:
        alive = sum(self.live.pop(session_id, None) is not None for session_id in ids) if len(ids) <= 4 else 0
        reply = self.call(self.stub.CloseSessions, pb.CloseSessionsRequest(session_ids=ids), len(ids))
        assert reply is None or reply.closed == alive

    @rule(seconds=st.sampled_from((0.5, 4.0, LEASE_S)))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule()
    def reap(self) -> None:
        self.running.run(lambda server: server.host.reap())
        self.expire()

    @invariant()
    def nothing_leaks(self) -> None:
        if hasattr(self, "stub"):
            info = self.stub.GetInfo(pb.GetInfoRequest(), timeout=30)
            assert info.sessions == len(self.running.server.table) == len(self.live) <= MAX_SESSIONS

    def answers(self, method: Callable[..., Any], request: Any, asked: list[Any]) -> Iterator[tuple[Any, Any]]:
        reply = self.call(method, request, len(asked))
        return iter(()) if reply is None else zip(reply.results, asked, strict=True)

    def call(self, method: Callable[..., Any], request: Any, size: int) -> Any:
        """The reply; None for a batch that is too large, which must be refused whole."""
        if size <= SETTINGS.max_items:
            return method(request, timeout=30)
        with pytest.raises(grpc.RpcError, match="TOO_MANY_ITEMS"):
            method(request, timeout=30)
        return None

    def agree(self, status: Any, reason: str) -> None:
        assert status.reason == reason
        assert status.code == (CODES[status.reason].value[0] if reason else 0)
        assert bool(status.message) is bool(reason)
        assert (status.retry_after_seconds > 0) is (reason == "SESSIONS_FULL")

    def same(self, result: Any, session: Live) -> None:
        shown = session.answer
        assert shown is not None
        assert (result.step_index, result.observation) == (session.played, shown.observation)
        assert tuple(result.admissible) == shown.admissible
        assert (result.truncated, result.won) == (shown.truncated, shown.won)

    def touch(self, session_id: str) -> None:
        self.live[session_id].touched_s = self.clock.now_s

    def expire(self) -> None:
        now = self.clock.now_s
        self.live = {key: session for key, session in self.live.items() if now - session.touched_s < LEASE_S}


TestServerAgainstModel = ServerAgainstModel.TestCase
TestServerAgainstModel.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
