"""The readers' side of the weights: from an announced (version, uri, sha256) to a verified local folder.

One class per transport, chosen by the URI's scheme. `fetch` blocks (it reads every byte of the model), is safe to
repeat and may be called from any thread; a rollout runs it beside generation.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from hiper.config.weights import WeightsSettings
from hiper.errors import ConfigError, IntegrityError, RemoteError
from hiper.weights.http_source import open_http_source
from hiper.weights.manifest import verify

__all__ = ["FilesystemSource", "SourceByScheme", "WeightsSource", "open_source"]


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


class SourceByScheme:
    """Chooses the transport by the scheme of the announced URI."""

    def __init__(self, sources: Mapping[str, WeightsSource]) -> None:
        self._sources = sources

    def fetch(self, version: int, uri: str, sha256: str) -> Path:
        """Fetch by the transport of `uri`; see `WeightsSource.fetch`. Raises `ConfigError` for one that is not here."""
        source = self._sources.get(urlsplit(uri).scheme)
        if source is None:
            raise ConfigError(
                f"weights version {version}: no transport for {uri} here, only for {', '.join(self._sources)}",
                "the learner and every rollout need the same weights.transport",
            )
        return source.fetch(version, uri, sha256)


@contextmanager
def open_source(cache: Path, settings: WeightsSettings) -> Iterator[WeightsSource]:
    """The transports of `settings`, for the length of the block; what has to be copied is copied into `cache`."""
    sources: dict[str, WeightsSource] = {"file": FilesystemSource()}
    with ExitStack() as open_while:
        if settings.transport == "http":
            sources["http"] = open_while.enter_context(open_http_source(cache, settings))
        yield SourceByScheme(sources)
