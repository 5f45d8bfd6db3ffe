"""Refusals of single items, as values: a reason, its canonical status code, and what to do."""

from dataclasses import dataclass

import grpc

from hiper._proto.common.v1 import types_pb2
from hiper.rpc.reasons import EnvReason

__all__ = ["CODES", "Refusal"]

CODES: dict[EnvReason, grpc.StatusCode] = {
    EnvReason.UNKNOWN_SESSION: grpc.StatusCode.NOT_FOUND,
    EnvReason.UNKNOWN_TASK: grpc.StatusCode.NOT_FOUND,
    EnvReason.TASK_CORRUPT: grpc.StatusCode.DATA_LOSS,
    EnvReason.TASK_DIFFERS: grpc.StatusCode.FAILED_PRECONDITION,
    EnvReason.SESSION_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    EnvReason.SESSIONS_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    EnvReason.NOT_RESET: grpc.StatusCode.FAILED_PRECONDITION,
    EnvReason.STEP_INDEX: grpc.StatusCode.FAILED_PRECONDITION,
    EnvReason.ACTION_DIFFERS: grpc.StatusCode.FAILED_PRECONDITION,
    EnvReason.EPISODE_OVER: grpc.StatusCode.FAILED_PRECONDITION,
    EnvReason.ACTION_TOO_LONG: grpc.StatusCode.INVALID_ARGUMENT,
    EnvReason.BAD_SESSION_ID: grpc.StatusCode.INVALID_ARGUMENT,
    EnvReason.REPEATED_SESSION: grpc.StatusCode.INVALID_ARGUMENT,
    EnvReason.ENGINE_FAULT: grpc.StatusCode.INTERNAL,
    EnvReason.CALL_DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    EnvReason.TOO_MANY_ITEMS: grpc.StatusCode.INVALID_ARGUMENT,
    EnvReason.UNKNOWN_SPLIT: grpc.StatusCode.NOT_FOUND,
    EnvReason.PAGE_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
}
"""Status code of every reason."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one item was refused."""

    reason: EnvReason
    message: str
    """What, where, and what to do."""
    retry_after_s: float = 0.0
    """Seconds after which a retry may succeed; 0 = a retry will not help."""

    @property
    def code(self) -> grpc.StatusCode:
        """Canonical status code."""
        return CODES[self.reason]

    def status(self) -> types_pb2.ItemStatus:
        """The wire form."""
        number: int = self.code.value[0]
        return types_pb2.ItemStatus(
            code=number, reason=self.reason, message=self.message, retry_after_seconds=self.retry_after_s
        )
