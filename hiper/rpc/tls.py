"""Mutual TLS for gRPC: both ends show a certificate, and each accepts those that its authority has signed.

The three files are named together or not at all, by variables, and checked when they are named. The server's
certificate must be made out to the host that clients call (a subject alternative name). Renewed files count from the
next start of a process.
"""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from hiper.errors import ConfigError

__all__ = ["CA_VARIABLE", "CERTIFICATE_VARIABLE", "KEY_VARIABLE", "TlsFiles"]

CERTIFICATE_VARIABLE = "HIPER_GRPC_TLS_CERT_FILE"
KEY_VARIABLE = "HIPER_GRPC_TLS_KEY_FILE"
CA_VARIABLE = "HIPER_GRPC_TLS_CA_FILE"
_VARIABLES = (CERTIFICATE_VARIABLE, KEY_VARIABLE, CA_VARIABLE)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one end. Raises `ConfigError` if one of them cannot be used, or the key is not the certificate's."""

    certificate: Path
    """Certificate of this process, with the intermediate ones."""
    key: Path
    """Its private key, without a passphrase."""
    ca: Path
    """Certificates of the authorities whose signature is accepted."""

    def __post_init__(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_verify_locations(self.ca)
            # An empty password, because without one Python asks the terminal for it.
            context.load_cert_chain(self.certificate, self.key, password="")
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            files = f"{self.certificate}, {self.key} and {self.ca}"
            raise ConfigError(
                f"cannot use the TLS files {files}: {error}",
                f"check {', '.join(_VARIABLES)}: PEM, a key without a passphrase, and made for each other",
            ) from error

    @classmethod
    def from_environment(cls) -> "TlsFiles | None":
        """Read the three variables; None if all are empty. Raises `ConfigError` if only some are."""
        paths = {name: os.environ.get(name, "") for name in _VARIABLES}
        missing = [name for name, path in paths.items() if not path]
        if len(missing) == len(paths):
            return None
        if missing:
            raise ConfigError(f"TLS is set by halves: {' and '.join(missing)} missing", "set all three, or none")
        return cls(*map(Path, paths.values()))

    def for_server(self) -> grpc.ServerCredentials:
        """Credentials of a server that turns away every client without an accepted certificate."""
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_credentials([pair], self.ca.read_bytes(), require_client_auth=True)

    def for_client(self) -> grpc.ChannelCredentials:
        """Credentials of a client."""
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), self.key.read_bytes(), self.certificate.read_bytes())
