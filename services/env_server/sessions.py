"""The table of live sessions: a plain state machine over an injected clock, without I/O of its own.

Invariants, checked against a model in tests/unit/env_server:
- A repeated step (index and action of the last answer) returns the stored answer and never acts twice.
- An episode advances only by the next index; nothing advances past its end.
- Every answer renews the lease, and so does `renew`; a session idle for `lease_s` is gone at the next `reap`, or when
  its place is needed.
- At most `max_sessions` live at once.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from hiper.envs.base import Episode, StepResult
from hiper.rpc.reasons import EnvReason
from services.env_server.refusals import Refusal

__all__ = ["MAX_ACTION_BYTES", "MAX_ID_CHARACTERS", "Answer", "SessionSpec", "SessionTable"]

MAX_ACTION_BYTES = 4096
MAX_ID_CHARACTERS = 256
_FULL_RETRY_S = 1.0
"""Longest retry hint when full: sessions are closed all the time, not only reaped."""


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What a caller asks for. Two equal specs are one session."""

    session_id: str
    task_id: str
    seed: int
    max_steps: int
    """0 = no limit."""
    sha256: str = field(default="", compare=False)
    """Hash the task's content must have; empty = any. A condition on creating, no part of what is created."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an episode showed after action `step_index` (0: after the reset)."""

    step_index: int
    result: StepResult
    repeated: bool = False
    """The stored answer, given again."""


@dataclass(slots=True)
class _Session:
    spec: SessionSpec
    episode: Episode
    touched_s: float
    last: Answer | None = None
    last_action: bytes = b""
    """Digest of the last action."""


class SessionTable:
    """Sessions by id. `open_episode` may raise: then no session exists."""

    def __init__(
        self,
        open_episode: Callable[[SessionSpec], Episode],
        *,
        max_sessions: int,
        lease_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._open_episode = open_episode
        self._max_sessions = max_sessions
        self._lease_s = lease_s
        self._clock = clock
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        # Least recently used first, so that reaping looks only at what it frees.
        self.reaped = 0
        """Sessions freed because their lease ran out, since the start."""

    def __len__(self) -> int:
        return len(self._sessions)

    def create(self, spec: SessionSpec) -> Refusal | None:
        """Open a session. Creating it again with the same spec changes nothing."""
        if not 1 <= len(spec.session_id) <= MAX_ID_CHARACTERS:
            return Refusal(EnvReason.BAD_SESSION_ID, f"a session id has 1 to {MAX_ID_CHARACTERS} characters")
        session = self._sessions.get(spec.session_id)
        if session is not None:
            if session.spec != spec:
                return Refusal(EnvReason.SESSION_EXISTS, "this id plays another task, seed or limit; choose another id")
            self._touch(session)
            return None
        if len(self._sessions) >= self._max_sessions and not self.reap():
            return Refusal(
                EnvReason.SESSIONS_FULL,
                f"all {self._max_sessions} sessions are in use; try again, or add env servers",
                self._retry_after_s(),
            )
        self._sessions[spec.session_id] = _Session(spec, self._open_episode(spec), self._clock())
        return None

    def reset(self, session_id: str) -> Answer | Refusal:
        """Start the episode again from its first observation."""
        session = self._sessions.get(session_id)
        if session is None:
            return _unknown(session_id)
        self._touch(session)
        session.last, session.last_action = Answer(0, session.episode.reset()), b""
        return session.last

    def step(self, session_id: str, step_index: int, action: str) -> Answer | Refusal:
        """Play `action` as number `step_index`, counted from 1 after a reset."""
        session = self._sessions.get(session_id)
        if session is None:
            return _unknown(session_id)
        self._touch(session)
        encoded = action.encode()
        if len(encoded) > MAX_ACTION_BYTES:
            return Refusal(EnvReason.ACTION_TOO_LONG, f"{len(encoded)} bytes; an action has at most {MAX_ACTION_BYTES}")
        if session.last is None:
            return Refusal(EnvReason.NOT_RESET, "reset the session before its first step")
        digest = hashlib.blake2b(encoded, digest_size=16).digest()
        last = session.last
        if step_index == last.step_index and step_index > 0:
            return _repeat(last, session.last_action == digest)
        if step_index != last.step_index + 1:
            return Refusal(
                EnvReason.STEP_INDEX, f"the last answer was {last.step_index}, so {step_index} is neither it nor next"
            )
        if last.result.done:
            return Refusal(EnvReason.EPISODE_OVER, f"the episode ended with step {last.step_index}; reset it")
        session.last, session.last_action = Answer(step_index, session.episode.step(action)), digest
        return session.last

    def close(self, session_id: str) -> bool:
        """Free a session; False if there is none."""
        return self._sessions.pop(session_id, None) is not None

    def renew(self, session_id: str) -> None:
        """Renew a session's lease, if it is there."""
        session = self._sessions.get(session_id)
        if session is not None:
            self._touch(session)

    def reap(self) -> int:
        """Free the sessions whose lease is over; returns how many."""
        limit = self._clock() - self._lease_s
        freed = 0
        while self._sessions and next(iter(self._sessions.values())).touched_s <= limit:
            self._sessions.popitem(last=False)
            freed += 1
        self.reaped += freed
        return freed

    def _touch(self, session: _Session) -> None:
        session.touched_s = self._clock()
        self._sessions.move_to_end(session.spec.session_id)

    def _retry_after_s(self) -> float:
        oldest = next(iter(self._sessions.values())).touched_s
        return min(_FULL_RETRY_S, max(0.05, oldest + self._lease_s - self._clock()))


def _unknown(session_id: str) -> Refusal:
    text = (
        f"no session {session_id[:MAX_ID_CHARACTERS]!r} here: closed, lease over, or from before a restart; create it"
    )
    return Refusal(EnvReason.UNKNOWN_SESSION, text)


def _repeat(last: Answer, same_action: bool) -> Answer | Refusal:
    if same_action:
        return Answer(last.step_index, last.result, repeated=True)
    return Refusal(EnvReason.ACTION_DIFFERS, f"step {last.step_index} was played with another action")
