"""Where a gRPC server listens, and whether it may."""

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from hiper.errors import ConfigError
from hiper.rpc.tls import CERTIFICATE_VARIABLE, TlsFiles

__all__ = [
    "ADDRESS_VARIABLE",
    "OPENENV_SHARED_VARIABLE",
    "OPENENV_VARIABLE",
    "TOKEN_FILE_VARIABLE",
    "Listen",
    "token_file_from_environment",
]

ADDRESS_VARIABLE = "HIPER_GRPC_ADDRESS"
OPENENV_VARIABLE = "HIPER_OPENENV_ADDRESS"
"""Where an env server listens for OpenEnv clients; unset = nowhere."""
OPENENV_SHARED_VARIABLE = "HIPER_OPENENV_SHARED"
"""Set where that port belongs to the several processes of one env server."""
TOKEN_FILE_VARIABLE = "HIPER_GRPC_TOKEN_FILE"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, slots=True)
class Listen:
    """Address of a server. Raises `ConfigError` for an address beyond loopback without a token or TLS."""

    address: str = "127.0.0.1:0"
    """`host:port`; port 0 = any free one."""
    token_file: Path | None = None
    """File with the bearer token callers must send; None = no token."""
    tls: TlsFiles | None = None
    """Certificates of this end; callers must show one too. None = plain text."""
    grace_s: float = 5.0
    """How long calls in flight may go on when the server stops."""

    def __post_init__(self) -> None:
        if self.token_file is None and self.tls is None and not is_loopback(self.address):
            raise ConfigError(
                f"refusing to listen on {self.address} without authentication",
                f"set {TOKEN_FILE_VARIABLE} to a file with a shared secret, or bind 127.0.0.1; for gRPC "
                f"{CERTIFICATE_VARIABLE} and its fellows will do as well",
            )

    @classmethod
    def from_environment(cls, default: str = "127.0.0.1:0") -> "Listen":
        """Read `HIPER_GRPC_ADDRESS` (else `default`), `HIPER_GRPC_TOKEN_FILE` and the variables of `hiper.rpc.tls`."""
        address = os.environ.get(ADDRESS_VARIABLE, default)
        return cls(address, token_file_from_environment(), TlsFiles.from_environment())


def token_file_from_environment() -> Path | None:
    """Return the token file servers ask for and clients send, or None."""
    path = os.environ.get(TOKEN_FILE_VARIABLE, "")
    return Path(path) if path else None


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach `host:port`."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
