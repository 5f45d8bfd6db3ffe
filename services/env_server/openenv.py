"""OpenEnv's WebSocket protocol in front of the same sessions: one connection plays one episode at a time.

The client sends `reset`, `step`, `state` and `close`; each of the first three gets one `observation`, `state` or
`error` (README, "OpenEnv"). What is wrong with a message costs that message an error and the connection nothing. A
session lives as long as its connection: it is freed when the connection ends, and `renew` keeps its lease until then.

Nothing here is asynchronous: `Connection.answer` is called from the server's one event loop (`openenv_server`).
"""

import uuid
from itertools import count
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hiper.config.sections import EnvSettings
from hiper.envs.base import StepResult
from hiper.rpc.reasons import EnvReason
from services.env_server.host import SessionHost
from services.env_server.refusals import Refusal
from services.env_server.sessions import Answer, SessionSpec

__all__ = ["Action", "Connection", "Observation", "OpenEnvFront", "State"]

Reply = dict[str, Any]


class Action(BaseModel):
    """What a step plays."""

    model_config = ConfigDict(extra="ignore")  # OpenEnv's own actions carry `metadata`

    action: str
    """The action's text, at most 4,096 bytes."""


class Observation(BaseModel):
    """What an episode shows."""

    text: str
    """The environment's own text."""
    admissible: tuple[str, ...]
    """Actions on offer, in the environment's order."""
    has_search_bar: bool | None
    """WebShop: whether `search[...]` is possible now; null elsewhere."""
    terminated: bool
    """The environment ended the episode."""
    truncated: bool
    """The step limit ended it."""
    won: bool
    """The task is solved."""
    score: float
    """Outcome so far, in [0, 1]."""
    action_valid: bool
    """Whether the action was on offer when it was played."""
    metadata: dict[str, Any]
    """The task's id, and the number of the action (0 after a reset)."""


class State(BaseModel):
    """Where a connection is."""

    episode_id: str | None = None
    """As the client named it, else a random one; null before the first reset."""
    step_count: int = 0
    """Actions played."""
    task_id: str | None = None
    """The task played."""


class _ResetData(BaseModel):
    model_config = ConfigDict(extra="ignore")  # trainers pass whole rows of their data sets

    task_id: str | None = None
    split: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**64)] | None = None
    max_steps: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    episode_id: Annotated[str, Field(min_length=1, max_length=255)] | None = None


class _Reset(BaseModel):
    type: Literal["reset"]
    data: _ResetData = _ResetData()


class _Step(BaseModel):
    type: Literal["step"]
    data: Action


class _State(BaseModel):
    type: Literal["state"]


class _Close(BaseModel):
    type: Literal["close"]


_MESSAGE: TypeAdapter[_Reset | _Step | _State | _Close] = TypeAdapter(
    Annotated[_Reset | _Step | _State | _Close, Field(discriminator="type")]
)
_FAULTS = {"json_invalid": "INVALID_JSON", "union_tag_invalid": "UNKNOWN_TYPE", "union_tag_not_found": "UNKNOWN_TYPE"}
"""OpenEnv's codes by pydantic's; every other fault is VALIDATION_ERROR."""


class OpenEnvFront:
    """The connections of one server process."""

    def __init__(self, host: SessionHost, settings: EnvSettings) -> None:
        self.host = host
        self.settings = settings
        self.connections: set[Connection] = set()
        self._turn = count()

    def connect(self) -> "Connection | Reply":
        """Take in a connection, or answer with the error that none is free."""
        limit = self.settings.max_sessions
        if len(self.connections) >= limit:
            return _error("CAPACITY_REACHED", f"all {limit} connections are in use; try again, or add env servers")
        connection = Connection(self)
        self.connections.add(connection)
        return connection

    def renew(self) -> None:
        """Keep the leases of the sessions whose connections are there: a model may think for longer than a lease."""
        for connection in self.connections:
            if connection.session_id is not None:
                self.host.table.renew(connection.session_id)

    def choose(self, wanted: _ResetData) -> str | Reply:
        """The task to play: the one named, else number `seed` of the split, else the split's next one."""
        if wanted.task_id is not None:
            return wanted.task_id
        source, split = self.host.source, wanted.split or self.settings.train_split
        if split not in source.splits():
            return _error("EXECUTION_ERROR", f"no split {split!r} here; there are: {', '.join(source.splits())}")
        ids = source.ids(split)
        return ids[(next(self._turn) if wanted.seed is None else wanted.seed) % len(ids)]


class Connection:
    """One client, and the session it plays."""

    def __init__(self, front: OpenEnvFront) -> None:
        self._front = front
        self._host = front.host
        self._state = State()
        self.session_id: str | None = None

    def answer(self, message: str) -> Reply | None:
        """Answer a message; None if it asks to end the connection."""
        try:
            asked = _MESSAGE.validate_json(message)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, fault["loc"])) or "message"
            return _error(_FAULTS.get(fault["type"], "VALIDATION_ERROR"), f"{where}: {fault['msg']}")
        match asked:
            case _Reset():
                return self._reset(asked.data)
            case _Step():
                return self._step(asked.data.action)
            case _State():
                return {"type": "state", "data": self._state.model_dump()}
            case _Close():
                return None

    def end(self) -> None:
        """Free what the connection holds."""
        self._leave()
        self._front.connections.discard(self)

    def _reset(self, wanted: _ResetData) -> Reply:
        task = self._front.choose(wanted)
        if not isinstance(task, str):
            return task
        self._leave()
        limit = self._front.settings.max_steps if wanted.max_steps is None else wanted.max_steps
        spec = SessionSpec(f"openenv-{uuid.uuid4().hex}", task, wanted.seed or 0, limit)
        created = self._host.create(spec)
        self._host.observe()
        if isinstance(created, Refusal):
            return _refused(created)
        self.session_id = spec.session_id
        episode_id = wanted.episode_id or uuid.uuid4().hex
        self._state = State(episode_id=episode_id, task_id=created.task_id)
        return self._shown(self._host.reset(spec.session_id))

    def _step(self, action: str) -> Reply:
        if self.session_id is None:
            return _error("EXECUTION_ERROR", f"{EnvReason.NOT_RESET}: reset the environment before its first step")
        return self._shown(self._host.step(self.session_id, self._state.step_count + 1, action))

    def _shown(self, answer: Answer | Refusal) -> Reply:
        if isinstance(answer, Refusal):
            return _refused(answer)
        self._state.step_count = answer.step_index
        return {
            "type": "observation",
            "data": {
                "observation": self._observation(answer.result).model_dump(mode="json"),
                "reward": answer.result.reward,
                "done": answer.result.done,
            },
        }

    def _observation(self, result: StepResult) -> Observation:
        return Observation(
            text=result.observation,
            admissible=result.admissible,
            has_search_bar=result.has_search_bar,
            terminated=result.terminated,
            truncated=result.truncated,
            won=result.won,
            score=result.score,
            action_valid=result.action_valid,
            metadata={"task_id": self._state.task_id, "step": self._state.step_count},
        )

    def _leave(self) -> None:
        if self.session_id is not None:
            self._host.close(self.session_id)
            self._host.observe()
        self.session_id, self._state = None, State()


def _refused(refusal: Refusal) -> Reply:
    code = "CAPACITY_REACHED" if refusal.reason is EnvReason.SESSIONS_FULL else "EXECUTION_ERROR"
    return _error(code, f"{refusal.reason}: {refusal.message}")


def _error(code: str, message: str) -> Reply:
    return {"type": "error", "data": {"message": message, "code": code}}
