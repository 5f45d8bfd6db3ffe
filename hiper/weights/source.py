"""The readers' side of the weights: from an announced (version, uri, sha256) to a verified local folder.

One class per transport, chosen by the URI's scheme. `fetch` blocks (it reads every byte of the model), is safe to
repeat and may be called from any thread; a rollout runs it beside generation.
"""

from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from hiper.errors import ConfigError, IntegrityError, RemoteError
from hiper.weights.manifest import verify

__all__ = ["FilesystemSource", "WeightsSource", "source_for"]


class WeightsSource(Protocol):
    """A transport that brings a published version onto this machine."""

    def fetch(self, version: int, uri: str, sha256: str) -> Path:
        """Return a folder with the files of `version`, verified against `sha256` of its manifest.

        Raises `RemoteError` when the version is not there (any more) and `IntegrityError` when its bytes are not those
        that were announced.
        """
        ...


class FilesystemSource:
    """Weights on a file system that the learner and this process share. URIs are `file:///path`; nothing is copied."""

    def fetch(self, version: int, uri: str, sha256: str) -> Path:
        """Verify the folder in place; see `WeightsSource.fetch`."""
        parts = urlsplit(uri)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
            raise ConfigError(f"weights version {version}: {uri} is not a file:// URI of this machine")
        directory = Path(unquote(parts.path))
        if not directory.is_dir():
            raise RemoteError(
                f"weights version {version} is not at {directory}",
                "it was pruned, or this process does not share the learner's file system",
            )
        manifest = verify(directory, sha256)
        if manifest.version != version:
            raise IntegrityError(f"{directory}: holds version {manifest.version}, announced was {version}")
        return directory


def source_for(uri: str) -> WeightsSource:
    """Return the transport for `uri`. Raises `ConfigError` for a scheme without one."""
    scheme = urlsplit(uri).scheme
    sources: dict[str, type[FilesystemSource]] = {"file": FilesystemSource}
    if scheme not in sources:
        raise ConfigError(f"no weights transport for {uri}", f"known schemes: {', '.join(sources)}")
    return sources[scheme]()
