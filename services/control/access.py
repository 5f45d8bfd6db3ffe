"""Who may ask: holders of the token, or without one, this machine only.

Beyond loopback the API is not served without a token. On loopback without one, a page in a browser of this machine must
not reach it: a Host that is not ours (DNS rebinding) and a foreign Origin (cross-site requests) are refused.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from hiper.errors import ConfigError
from hiper.rpc.auth import TokenFile
from hiper.rpc.listen import is_loopback
from services.control.problems import ProblemError

__all__ = ["ADDRESS_VARIABLE", "TOKEN_FILE_VARIABLE", "Access", "guard"]

ADDRESS_VARIABLE = "HIPER_CONTROL_ADDRESS"
TOKEN_FILE_VARIABLE = "HIPER_CONTROL_TOKEN_FILE"  # noqa: S105 - the name of a variable
_DEFAULT_ADDRESS = "127.0.0.1:8090"

_Credentials = Annotated[
    HTTPAuthorizationCredentials | None,
    Security(HTTPBearer(auto_error=False, scheme_name="token", description=f"The content of {TOKEN_FILE_VARIABLE}.")),
]


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API listens, and the token callers send. Raises `ConfigError` for a public address without one."""

    address: str = _DEFAULT_ADDRESS
    token: TokenFile | None = None

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.address):
            raise ConfigError(
                f"refusing to serve the control API on {self.address} without a token",
                f"set {TOKEN_FILE_VARIABLE} to a file with a shared secret, or bind 127.0.0.1",
            )

    @classmethod
    def from_environment(cls) -> "Access":
        """Read `HIPER_CONTROL_ADDRESS` and `HIPER_CONTROL_TOKEN_FILE`."""
        path = os.environ.get(TOKEN_FILE_VARIABLE, "")
        return cls(os.environ.get(ADDRESS_VARIABLE, _DEFAULT_ADDRESS), TokenFile(Path(path)) if path else None)


def guard(access: Access) -> Callable[..., None]:
    """Return the dependency that lets a request pass or raises a `ProblemError`."""

    def with_token(credentials: _Credentials) -> None:
        given = f"Bearer {credentials.credentials}" if credentials else ""
        if access.token is None or not access.token.accepts(given):
            detail = "the bearer token is missing or wrong"
            raise ProblemError(HTTPStatus.UNAUTHORIZED, "unauthorized", detail, "send Authorization: Bearer <token>")

    def from_this_machine(request: Request, _credentials: _Credentials) -> None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if not is_loopback(host if ":" in host.removeprefix("[::1]") else f"{host}:0"):
            raise ProblemError(HTTPStatus.FORBIDDEN, "host", f"'{host}' is not a name of this machine")
        if origin is not None and origin.partition("://")[2] != host:
            raise ProblemError(HTTPStatus.FORBIDDEN, "origin", f"requests from pages of {origin} are refused")

    return from_this_machine if access.token is None else with_token
