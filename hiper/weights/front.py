"""The writers' side of the transports: what turns a version on disk into a URI that rollouts can fetch.

The counterpart of `hiper.weights.source`. `offer` blocks (it may read every byte of the model) and may be repeated.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from hiper.config.weights import WeightsSettings
from hiper.weights.deltas import DELTAS, write_deltas
from hiper.weights.manifest import PublishedWeights, prune, published_versions
from hiper.weights.shelf import Shelf, serve_weights

__all__ = ["FilesystemFront", "HttpFront", "WeightsFront", "open_front"]

_KEPT_DELTAS = 2


class WeightsFront(Protocol):
    """How published versions are given out."""

    def offer(self, written: PublishedWeights) -> str:
        """Let the version be fetched, and return its URI."""
        ...


class FilesystemFront:
    """Learner and rollouts share a file system: the folder itself is the offer."""

    def offer(self, written: PublishedWeights) -> str:
        """Return the folder's `file://` URI."""
        return written.directory.resolve().as_uri()


class HttpFront:
    """Serves versions, and with `delta` what changed since the version before, from `shelf` under `url`."""

    def __init__(self, shelf: Shelf, url: str, *, delta: bool) -> None:
        self._shelf = shelf
        self._url = url
        self._delta = delta

    def offer(self, written: PublishedWeights) -> str:
        """Put the version, after its delta, on the shelf and return the shelf's URL."""
        root, version = written.directory.parent, written.version
        before = [known for known in published_versions(root) if known < version]
        if self._delta and before and (delta := write_deltas(root, before[-1], version)) is not None:
            self._shelf.put_version(delta.directory)
            prune(root / DELTAS, _KEPT_DELTAS, protect=(version,))
        self._shelf.put_version(written.directory)
        return self._url


@contextmanager
def open_front(settings: WeightsSettings) -> Iterator[WeightsFront]:
    """The front of `settings.transport`, for the length of the block."""
    if settings.transport == "filesystem":
        yield FilesystemFront()
        return
    shelf = Shelf()
    with serve_weights(shelf, settings) as url:
        yield HttpFront(shelf, url, delta=settings.delta)
