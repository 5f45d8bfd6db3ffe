"""Stable words by which the env service says why it refused an item. Programs act on them, so they never change."""

from enum import StrEnum

__all__ = ["EnvReason"]


class EnvReason(StrEnum):
    """Reasons of `ItemStatus` and of refused calls; each has a row in services/env_server/README.md."""

    UNKNOWN_SESSION = "UNKNOWN_SESSION"
    """No such session here: never created, closed, lease over, or the server was restarted."""
    UNKNOWN_TASK = "UNKNOWN_TASK"
    """The server's data has no such task."""
    TASK_CORRUPT = "TASK_CORRUPT"
    """The task's data exists but cannot be played."""
    SESSION_EXISTS = "SESSION_EXISTS"
    """The id is taken by a session of another task, seed or step limit."""
    SESSIONS_FULL = "SESSIONS_FULL"
    """All sessions are in use; comes with a retry hint."""
    NOT_RESET = "NOT_RESET"
    """A step before the first reset."""
    STEP_INDEX = "STEP_INDEX"
    """Neither the index of the last answer nor the next one."""
    ACTION_DIFFERS = "ACTION_DIFFERS"
    """The index of the last answer with another action: two players hold one session."""
    EPISODE_OVER = "EPISODE_OVER"
    """A step after the end."""
    ACTION_TOO_LONG = "ACTION_TOO_LONG"
    """More bytes than an action may have."""
    BAD_SESSION_ID = "BAD_SESSION_ID"
    """Empty or too long."""
    REPEATED_SESSION = "REPEATED_SESSION"
    """The session stands twice in one call; the first one counts."""
    ENGINE_FAULT = "ENGINE_FAULT"
    """The engine raised; the server's log has the traceback."""
    CALL_DEADLINE = "CALL_DEADLINE"
    """The call's deadline passed before this item's turn."""
    TOO_MANY_ITEMS = "TOO_MANY_ITEMS"
    """More items than `max_items` (whole call)."""
    UNKNOWN_SPLIT = "UNKNOWN_SPLIT"
    """The data has no such split (whole call)."""
    PAGE_TOO_LARGE = "PAGE_TOO_LARGE"
    """`page_size` above 5,000 (whole call)."""
