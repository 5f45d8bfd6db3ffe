"""Trajectories on their way to the learner: what was played, decided and credited, turn by turn.

An entry is deleted by the checkpoint that holds it, so this shows what is in flight: unscored in `traj.raw`, with
advantages in `traj.adv`. Texts are the model's and the environment's: hostile until escaped by whoever shows them.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from hiper._proto.common.v1.types_pb2 import LevelValues
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory, Turn
from hiper.errors import IntegrityError
from hiper.streams import Broker, Delivery
from hiper.vocabulary import Level, Stream
from services.control.desk import Desk
from services.control.models import EntryId, Figure, LetterPage, Model
from services.control.problems import ProblemError, answers

__all__ = ["trajectory_routes"]

_Stream = Annotated[
    Literal["traj.raw", "traj.adv"], Path(description="`traj.raw`: not scored yet; `traj.adv`: with advantages.")
]


class TrajectorySummary(Model):
    """One trajectory in flight."""

    id: str
    """Of its stream entry."""
    trajectory_id: str
    env: str = ""
    task_id: str = ""
    task_type: str = ""
    won: bool = False
    truncated: bool = False
    abandoned: str = ""
    """Why it was given up; empty if it was played to an end."""
    turns: int = 0
    env_return: Figure = 0.0
    """Sum of the environment's own rewards."""
    policy_version: int = 0
    """Version it began with."""
    fault: str = ""
    """Why the entry cannot be read; the rest is empty then."""


class TurnView(Model):
    """One turn."""

    index: int
    observation: str
    subgoal: str
    """In force from this turn on."""
    switch: bool
    """The turn chose a new sub-goal."""
    action: str
    valid: bool
    """The response was well-formed."""
    admissible: bool
    """The environment offered the action."""
    env_reward: Figure
    reward: Figure
    """All terms; null before the reward service."""
    reward_terms: dict[str, Figure]
    advantages: dict[str, Figure]
    """By level; empty before the HAE service."""
    values: dict[str, Figure]
    """By level; empty before the HAE service."""
    prompt_tokens: int
    response_tokens: int


class TrajectoryDetail(TrajectorySummary):
    """One trajectory with its turns."""

    steps: list[TurnView]


class TrajectoryPage(Model):
    """Trajectories in flight, the oldest first."""

    items: list[TrajectorySummary]
    next: str | None
    """Give it as `after` for the next page; null on the last one."""


def trajectory_routes(desk: Desk) -> APIRouter:
    """Routes below `/trajectories`."""
    router = APIRouter(prefix="/trajectories", tags=["trajectories"])

    @router.get("/{stream}", operation_id="listTrajectories")
    async def list_trajectories(stream: _Stream, page: Annotated[LetterPage, Query()]) -> TrajectoryPage:
        """List trajectories in flight, the oldest first."""
        start = f"({page.after}" if page.after else "-"
        found = await desk.ask(lambda broker: _entries(broker, stream, start, "+", page.limit + 1))
        items = [_summary(entry) for entry in found[: page.limit]]
        return TrajectoryPage(items=items, next=items[-1].id if len(found) > page.limit else None)

    @router.get("/{stream}/{entry_id}", operation_id="getTrajectory", responses=answers(404))
    async def show(stream: _Stream, entry_id: Annotated[EntryId, Path()]) -> TrajectoryDetail:
        """Show one trajectory turn by turn."""
        found = await desk.ask(lambda broker: _entries(broker, stream, entry_id, entry_id, 1))
        if not found:
            detail = f"{stream} holds no entry {entry_id}"
            raise ProblemError(HTTPStatus.NOT_FOUND, "not_found", detail, "a checkpoint holds it, or a later stage")
        summary = _summary(found[0])
        turns = [] if summary.fault else [_turn(turn) for turn in found[0].trajectory().turns]
        return TrajectoryDetail(**summary.model_dump(), steps=turns)

    return router


async def _entries(broker: Broker, stream: str, start: str, end: str, limit: int) -> Sequence[Delivery]:
    rows = await broker.command("XRANGE", broker.keys.stream(Stream(stream)), start, end, "COUNT", limit)
    named = [(entry_id.decode(), {name.decode(): value for name, value in raw.items()}) for entry_id, raw in rows]
    return [Delivery(entry_id, fields.get("p", b""), 0, fields) for entry_id, fields in named]


def _summary(entry: Delivery) -> TrajectorySummary:
    if entry.fields.get("members") == b"0":
        return TrajectorySummary(id=entry.entry_id, trajectory_id="", fault="stands for a batch without members")
    try:
        trajectory = entry.trajectory()
    except IntegrityError as error:
        return TrajectorySummary(id=entry.entry_id, trajectory_id=entry.trajectory_id, fault=error.message)
    return _described(entry.entry_id, trajectory)


def _described(entry_id: str, trajectory: Trajectory) -> TrajectorySummary:
    task, outcome, turns = trajectory.task, trajectory.outcome, trajectory.turns
    return TrajectorySummary(
        id=entry_id,
        trajectory_id=task.trajectory_id,
        env=task.env,
        task_id=task.task_id,
        task_type=trajectory.task_type,
        won=outcome.won,
        truncated=outcome.truncated,
        abandoned=outcome.abandoned,
        turns=len(turns),
        env_return=sum(turn.env_reward for turn in turns),
        policy_version=turns[0].policy_version_start if turns else task.min_policy_version,
    )


def _turn(turn: Turn) -> TurnView:
    return TurnView(
        index=turn.index,
        observation=turn.observation,
        subgoal=turn.subgoal,
        switch=turn.is_switch,
        action=turn.action,
        valid=turn.valid,
        admissible=turn.action_admissible,
        env_reward=turn.env_reward,
        reward=turn.reward if turn.HasField("reward") else None,
        reward_terms=dict(turn.reward_terms),
        advantages=_levels(turn.advantages) if turn.HasField("advantages") else {},
        values=_levels(turn.values) if turn.HasField("values") else {},
        prompt_tokens=len(turn.prompt_ids) // 4,
        response_tokens=len(turn.response_ids) // 4,
    )


def _levels(values: LevelValues) -> dict[str, float | None]:
    return {level.value: getattr(values, level.value) for level in Level if values.HasField(level.value)}
