"""Weights over HTTP: from the learner, from rollouts that have them, and as changes to what is here already.

A version grows in a folder of its own, in which a file gets its name once its sha256 has been compared; any attempt,
of whichever process, goes on where the last one stopped. The folder gets the version's name once every file of the
manifest is there, and the manifest's own sha256 is the announced one. So a version that can be named is whole, and a
fetch that fails leaves those before it as they were.

Who has fetched a file offers it to the others, file by file: what the learner sends once reaches many.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hiper import logs
from hiper.config.weights import WeightsSettings
from hiper.errors import ConfigError, HiperError, IntegrityError, RemoteError
from hiper.metrics import counter
from hiper.rpc.auth import TokenFile
from hiper.rpc.listen import token_file_from_environment
from hiper.weights.deltas import SUFFIX, base_of, rebuild
from hiper.weights.download import Download, Relay, hold_against
from hiper.weights.manifest import (
    MANIFEST,
    Manifest,
    WeightFile,
    parse_manifest,
    prune,
    read_manifest,
    verify,
    version_directory,
)
from hiper.weights.peer import Pace
from hiper.weights.shelf import Shelf, serve_weights

__all__ = ["HttpSource", "open_http_source"]

_PARTIAL = ".{}.partial"
_HINT = "the version that is loaded goes on serving, and the fetch is tried again"


@contextmanager
def open_http_source(cache: Path, settings: WeightsSettings) -> Iterator["HttpSource"]:
    """Fetch into `cache`, and serve from it if `settings.relay`, for the length of the block."""
    path = token_file_from_environment()
    token = TokenFile(path) if path is not None else None
    if not settings.relay:
        with closing(HttpSource(cache, settings, token)) as source:
            yield source
        return
    shelf = Shelf()
    with (
        serve_weights(shelf, settings) as url,
        closing(HttpSource(cache, settings, token, Relay(shelf, url))) as source,
    ):
        yield source


class HttpSource:
    """See `hiper.weights.source.WeightsSource`. URIs are `http://host:port` of the learner's shelf.

    One fetch at a time; `close` may come from another thread.
    """

    def __init__(
        self, cache: Path, settings: WeightsSettings, token: TokenFile | None = None, relay: Relay | None = None
    ) -> None:
        cache.mkdir(parents=True, exist_ok=True)
        self._cache = cache
        self._settings = settings
        self._token = token
        self._relay = relay
        self._verified: set[str] = set()
        """Manifests' sha256 of the versions this process has verified itself."""
        self._closed = False
        self._pace = self._new_pace()
        self._log = logs.get()

    def fetch(self, version: int, uri: str, sha256: str) -> Path:
        """Bring the version here; see `WeightsSource.fetch`. Raises `RemoteError` at a bound of the settings, too."""
        if not uri.startswith("http://"):
            raise ConfigError(f"weights version {version}: {uri} is not an http:// URI")
        target = version_directory(self._cache, version)
        if self._is_here(target, sha256):
            return target
        self._pace = self._new_pace()
        if self._closed:
            self._pace.stop()
        try:
            self._fetch(target, version, uri.rstrip("/"), sha256)
        except RemoteError as error:
            raise RemoteError(f"weights version {version} from {uri}: {error.message}", _HINT) from error
        self._verified.add(sha256)
        prune(self._cache, self._settings.keep_fetched, protect=(version,))
        return target

    def close(self) -> None:
        """End a fetch that goes on; it raises `RemoteError`."""
        self._closed = True
        self._pace.stop()

    def _new_pace(self) -> Pace:
        return Pace(self._settings.fetch_timeout_s, self._settings.unavailable_timeout_s)

    def _is_here(self, target: Path, sha256: str) -> bool:
        """Whether the version is in the cache, whole. One that is not what was announced is removed."""
        if not target.is_dir():
            return False
        try:
            if sha256 not in self._verified or read_manifest(target).sha256 != sha256:
                verify(target, sha256)
        except IntegrityError:
            shutil.rmtree(target)
            return False
        self._verified.add(sha256)
        self._put(target)
        return True

    def _fetch(self, target: Path, version: int, origin: str, sha256: str) -> None:
        partial = self._cache / _PARTIAL.format(sha256[:16])
        for other in set(self._cache.glob(_PARTIAL.format("*"))) - {partial}:
            shutil.rmtree(other)  # of a version nobody asks for any more
        partial.mkdir(exist_ok=True)
        download = Download(origin, self._settings, self._token, self._pace, self._relay)
        raw = download.ask(f"/files/{sha256}")
        if raw is None:
            raise RemoteError("it is not there (any more)")
        if hashlib.sha256(raw).hexdigest() != sha256:
            raise IntegrityError(f"{origin}: the manifest of version {version} is not the one that was announced")
        manifest = parse_manifest(raw, f"{origin}/files/{sha256}")
        if manifest.version != version:
            raise IntegrityError(f"{origin}: holds version {manifest.version}, announced was {version}")
        missing = [file for file in manifest.files if not self._have(file, partial)]
        if self._settings.delta and missing:
            missing = self._by_delta(manifest, missing, partial, download)
        download.all(missing, partial)
        (partial / MANIFEST).write_bytes(raw)
        partial.rename(target)
        self._put(target)

    def _put(self, target: Path) -> None:
        if self._relay is not None:
            self._relay.shelf.put_version(target)

    def _local(self) -> dict[str, Path]:
        """Versions in the cache by their manifest's sha256; whether their files are sound is not said."""
        found = {}
        for path in self._cache.glob("v*"):
            try:
                found[read_manifest(path).sha256] = path
            except IntegrityError as error:
                self._log.warning("a fetched version is damaged", error=str(error))
        return found

    def _have(self, file: WeightFile, partial: Path) -> bool:
        """Whether an earlier attempt or another version gives the file. A copy is held against the hash."""
        path = partial / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return True
        for directory in self._local().values():
            kept = directory / file.name
            if file not in read_manifest(directory).files or not kept.is_file():
                continue
            part = partial / f"{file.name}.part"
            shutil.copyfile(kept, part)
            with part.open("rb") as copy:
                sound = hold_against(copy)[0].hexdigest() == file.sha256
            if sound:
                part.rename(path)
                return True
            part.unlink()
        return False

    def _by_delta(
        self, manifest: Manifest, missing: list[WeightFile], partial: Path, download: Download
    ) -> list[WeightFile]:
        """Make what can be made of a base that is here; returns what is still missing, to be fetched as it is."""
        folder = partial / ".deltas"
        try:
            raw = download.ask(f"/deltas/{manifest.sha256}")
            delta = parse_manifest(raw, f"{download.origin}/deltas/{manifest.sha256}") if raw else None
            base = self._local().get(base_of(delta)) if delta else None
            if delta is not None and base is not None:
                changes = {file.name.removesuffix(SUFFIX): file for file in delta.files}
                wanted = [file for file in missing if file.name in changes]
                download.all([changes[file.name] for file in wanted], folder)
                for file in wanted:
                    part = partial / f"{file.name}.part"
                    rebuild(file, base / file.name, folder / changes[file.name].name, part, self._pace.check)
                    part.rename(partial / file.name)
                    download.offer(file, partial / file.name)
                counter("weights_deltas_applied_total").inc()
        except (HiperError, OSError) as error:
            self._pace.check()
            counter("weights_failures_total").labels(stage="delta").inc()
            self._log.warning("a delta is of no use, fetching whole files", error=str(error), version=manifest.version)
        shutil.rmtree(folder, ignore_errors=True)
        return [file for file in missing if not (partial / file.name).exists()]
