"""The project's exceptions: one small tree, each with an exit code and a hint.

A `HiperError` is a failure a person can act on. The command line prints it as one line, `message — hint`, and exits
with `exit_code`; a traceback is for defects only. Expected outcomes of a run (an abandoned episode, an expired group)
are not exceptions but values of `hiper.vocabulary` enums.
"""

from enum import IntEnum

__all__ = [
    "BrokerError",
    "ConfigError",
    "DataError",
    "DependencyError",
    "ExitCode",
    "HiperError",
    "IntegrityError",
    "RemoteError",
    "RunStateError",
]


class ExitCode(IntEnum):
    """Exit codes of the `hiper` command and of every service."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    DEPENDENCY = 3
    INTERRUPTED = 130


class HiperError(Exception):
    """A failure with a message (what, where) and a hint (what to do next)."""

    exit_code = ExitCode.FAILURE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} — {self.hint}" if self.hint else self.message


class ConfigError(HiperError):
    """A setting is unknown, of the wrong type or contradicts another one."""

    exit_code = ExitCode.USAGE


class DependencyError(HiperError):
    """Something this process needs is missing, too old or unreachable."""

    exit_code = ExitCode.DEPENDENCY


class BrokerError(DependencyError):
    """The broker is unreachable, too old, wrongly configured or holds another run's data."""


class RemoteError(DependencyError):
    """A remote call failed for good: names the peer, the request and the bound that was reached."""


class DataError(HiperError):
    """A game file, panel or dataset is missing, corrupt or of an unknown version."""


class IntegrityError(HiperError):
    """Bytes on disk or on the wire do not match their checksum or schema."""


class RunStateError(HiperError):
    """The run directory, checkpoint or lease is not in the state this operation needs."""
