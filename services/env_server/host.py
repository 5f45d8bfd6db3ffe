"""One session's worth of work, guarded and measured: what every face of the server (gRPC, OpenEnv) calls.

Whatever the data or an engine does becomes a `Refusal`, never an exception: a task that cannot be used takes no place,
and an engine that raises costs that session its life and no other. Single-threaded: calls come from one event loop.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from hiper import logs
from hiper.config.sections import EnvSettings
from hiper.envs.base import Episode, TaskInfo, TaskPin, TaskSource
from hiper.errors import DataError
from hiper.failpoint import Failpoint, failpoint
from hiper.rpc.reasons import EnvReason
from services.env_server.measures import Measures
from services.env_server.refusals import Refusal
from services.env_server.sessions import Answer, SessionSpec, SessionTable

__all__ = ["MAX_TASK_CHARACTERS", "SessionHost"]

MAX_TASK_CHARACTERS = 1024
_MAX_MESSAGE = 512
"""Characters of a message that quotes an error: 256 refusals must fit into one reply."""

Outcome = TypeVar("Outcome", TaskInfo, Answer, TaskPin)


class SessionHost:
    """The sessions of one server process, which play tasks of `source`. `clock` gives monotonic seconds."""

    def __init__(self, source: TaskSource, settings: EnvSettings, clock: Callable[[], float]) -> None:
        self.source = source
        self.table = SessionTable(self._open, max_sessions=settings.max_sessions, lease_s=settings.lease_s, clock=clock)
        self.measures = Measures(source.env, settings.max_sessions)
        self._log = logs.get()

    def create(self, spec: SessionSpec) -> TaskInfo | Refusal:
        """Open a session, if the task is here with the content the caller wants; a repeat changes nothing."""
        return self._guard(spec.session_id, lambda: self._create(spec))

    def reset(self, session_id: str) -> Answer | Refusal:
        """Start the episode again."""
        started = time.perf_counter()
        answer = self._guard(session_id, lambda: self.table.reset(session_id))
        self.measures.reset(time.perf_counter() - started)
        return answer

    def step(self, session_id: str, step_index: int, action: str) -> Answer | Refusal:
        """Play `action` as number `step_index`; see `SessionTable.step`."""
        started = time.perf_counter()
        answer = self._guard(session_id, lambda: self.table.step(session_id, step_index, action))
        failpoint(Failpoint.ENV_AFTER_STEP)
        if isinstance(answer, Answer) and not answer.repeated:
            self.measures.step(answer.result, time.perf_counter() - started)
        return answer

    def close(self, session_id: str) -> bool:
        """Free a session; False if there is none."""
        return self.table.close(session_id)

    def pin(self, task_id: str, *, full: bool) -> TaskPin | Refusal:
        """Identify a task's content (`TaskSource.pin`)."""
        try:
            return self.source.pin(self.source.resolve(task_id), full=full)
        except DataError as error:
            return self._unusable(task_id, error)

    def reap(self) -> None:
        """Free the sessions whose lease is over, and bring the gauges up to date."""
        self.table.reap()
        self.observe()

    def observe(self) -> None:
        """Bring the session gauges up to date."""
        self.measures.sessions(len(self.table), self.table.reaped)

    def _open(self, spec: SessionSpec) -> Episode:
        return self.source.open(self.source.resolve(spec.task_id), seed=spec.seed, max_steps=spec.max_steps)

    def _create(self, spec: SessionSpec) -> TaskInfo | Refusal:
        if len(spec.task_id) > MAX_TASK_CHARACTERS:
            return Refusal(EnvReason.UNKNOWN_TASK, f"a task id has at most {MAX_TASK_CHARACTERS} characters")
        try:
            task = self.source.describe(self.source.resolve(spec.task_id))
            if spec.sha256 and spec.sha256 != task.sha256:
                return _differs(task, spec.sha256)
            return self.table.create(spec) or task
        except DataError as error:
            return self._unusable(spec.task_id, error)

    def _unusable(self, task: str, error: DataError) -> Refusal:
        reason = EnvReason.TASK_CORRUPT if self._listed(task) else EnvReason.UNKNOWN_TASK
        return Refusal(reason, str(error)[:_MAX_MESSAGE])

    def _listed(self, task: str) -> bool:
        try:
            task_id = self.source.resolve(task)
        except DataError:
            return False
        return any(task_id in self.source.ids(split) for split in self.source.splits())

    def _guard(self, session_id: str, work: Callable[[], Outcome | Refusal]) -> Outcome | Refusal:
        try:
            outcome = work()
        except Exception as error:  # noqa: BLE001 - a defect of one game must not fail the other sessions
            self._log.exception("engine fault", session=session_id)
            self.table.close(session_id)
            text = f"{type(error).__name__}: {error}; see the server's log"
            outcome = Refusal(EnvReason.ENGINE_FAULT, text[:_MAX_MESSAGE])
        if isinstance(outcome, Refusal):
            self.measures.refusal(outcome)
        return outcome


def _differs(task: TaskInfo, wanted: str) -> Refusal:
    return Refusal(
        EnvReason.TASK_DIFFERS,
        f"task {task.task_id} has sha256 {task.sha256[:16]} here, {wanted[:16]} was asked for; "
        "every env server of a run must host the same data",
    )
