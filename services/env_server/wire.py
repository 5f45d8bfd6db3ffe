"""Between the wire and the table's own types."""

from hiper._proto.env.v1 import env_service_pb2 as pb
from hiper.envs.base import TaskInfo, TaskPin
from services.env_server.refusals import Refusal
from services.env_server.sessions import Answer, SessionSpec

__all__ = ["session_result", "session_spec", "step_result", "task_info"]


def session_spec(message: pb.SessionSpec) -> SessionSpec:
    """Read what a caller asks for."""
    return SessionSpec(message.session_id, message.task_id, message.seed, message.max_steps, message.sha256)


def session_result(session_id: str, outcome: TaskInfo | Refusal) -> pb.SessionResult:
    """Write what became of a request for a session."""
    if isinstance(outcome, Refusal):
        return pb.SessionResult(session_id=session_id, status=outcome.status())
    return pb.SessionResult(
        session_id=session_id, task_type=outcome.task_type, split=outcome.split, sha256=outcome.sha256
    )


def task_info(pin: TaskPin) -> pb.TaskInfo:
    """Write a task as it is listed."""
    return pb.TaskInfo(
        task_id=pin.task_id,
        task_type=pin.task_type,
        split=pin.split,
        sha256=pin.sha256,
        content_sha256=pin.content_sha256,
    )


def step_result(session_id: str, outcome: Answer | Refusal) -> pb.StepResult:
    """Write an answer or a refusal."""
    if isinstance(outcome, Refusal):
        return pb.StepResult(session_id=session_id, status=outcome.status())
    shown = outcome.result
    return pb.StepResult(
        session_id=session_id,
        step_index=outcome.step_index,
        observation=shown.observation,
        admissible=shown.admissible,
        reward=shown.reward,
        terminated=shown.terminated,
        truncated=shown.truncated,
        won=shown.won,
        score=shown.score,
        action_valid=shown.action_valid,
        has_search_bar=shown.has_search_bar,
    )
