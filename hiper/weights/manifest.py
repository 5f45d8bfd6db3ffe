"""One published version of the weights: a folder `v000012` with the model's files and a `manifest.json`.

Invariants:
- A folder named `v...` is complete: it is written under a dotted temporary name, flushed, and renamed. It never changes
  after that.
- The manifest names every other file of the folder with its size and sha256; the sha256 of the manifest's own bytes
  therefore stands for the whole version. It travels with the version's announcement, so a reader trusts nothing else.
- One writer per root (the learner, under its lease); any number of readers.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from hiper.checksums import file_sha256
from hiper.durable import JsonValue, fsync_file, replace_directory, write_json
from hiper.errors import IntegrityError

__all__ = [
    "MANIFEST",
    "Manifest",
    "PublishedWeights",
    "WeightFile",
    "parse_manifest",
    "prune",
    "published_versions",
    "read_manifest",
    "verify",
    "version_directory",
    "write_version",
]

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
_HASHERS = 4
_VERSION_NAME = re.compile(r"v(\d{6,})")
_HINT = "the folder is damaged: remove it, and the learner publishes the version again from its checkpoint"


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of a version. `name` is relative to the folder, with forward slashes."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version's folder holds, and what its writer said about it."""

    version: int
    metadata: Mapping[str, JsonValue]
    files: tuple[WeightFile, ...]
    sha256: str = field(default="", compare=False)
    """sha256 of the manifest's bytes on disk."""


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """A version that is on disk, complete and verified."""

    version: int
    directory: Path
    manifest_sha256: str
    bytes: int
    """Size of the model's files, the manifest left out."""


def version_directory(root: Path, version: int) -> Path:
    """Return the folder of `version` below `root`."""
    return root / f"v{version:06d}"


def write_version(
    root: Path, version: int, write_files: Callable[[Path], None], metadata: Mapping[str, JsonValue]
) -> PublishedWeights:
    """Publish `version`: `write_files` fills a fresh folder, which then appears under its name at once.

    Idempotent: a version that is there, verifies and has the same `metadata` is returned as it is and `write_files` is
    not called. Anything else under the name is replaced.
    """
    root.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(root)
    target = version_directory(root, version)
    manifest = _verified_or_none(target)
    if manifest is None or (manifest.version, dict(manifest.metadata)) != (version, dict(metadata)):
        temporary = root / f".{target.name}.{os.getpid()}.tmp"
        temporary.mkdir()
        write_files(temporary)
        _write_manifest(temporary, version, metadata)
        _remove_version(target)
        replace_directory(temporary, target)
        manifest = read_manifest(target)
    return PublishedWeights(version, target, manifest.sha256, sum(file.bytes for file in manifest.files))


def verify(directory: Path, expected_sha256: str | None = None) -> Manifest:
    """Read every byte of a version and return its manifest.

    `expected_sha256` is the manifest's own hash as announced; None trusts the manifest on disk. Raises `IntegrityError`
    naming the first file that is missing, unlisted, of another size or of another content.
    """
    manifest = read_manifest(directory)
    if expected_sha256 is not None and manifest.sha256 != expected_sha256:
        raise IntegrityError(
            f"{directory / MANIFEST}: sha256 is {manifest.sha256}, announced was {expected_sha256}", _HINT
        )
    present = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()} - {MANIFEST}
    for name in sorted(present - {file.name for file in manifest.files}):
        raise IntegrityError(f"{directory / name}: not listed in {MANIFEST}", _HINT)
    for file in manifest.files:
        path = directory / file.name
        if file.name not in present:
            raise IntegrityError(f"{path}: listed in {MANIFEST} but missing", _HINT)
        if path.stat().st_size != file.bytes:
            raise IntegrityError(f"{path}: has {path.stat().st_size} bytes instead of {file.bytes}", _HINT)
    digests = _digests([directory / file.name for file in manifest.files])
    for file, digest in zip(manifest.files, digests, strict=True):
        if digest != file.sha256:
            raise IntegrityError(f"{directory / file.name}: sha256 differs from {MANIFEST}", _HINT)
    return manifest


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest of a version without touching its files. Raises `IntegrityError`."""
    path = directory / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{path}: cannot be read ({error.strerror})", _HINT) from error
    return parse_manifest(data, str(path))


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Read a manifest's bytes; `where` they come from is for errors only. Raises `IntegrityError`."""
    try:
        tree = json.loads(data)
        if tree["schema_version"] != SCHEMA_VERSION:
            raise IntegrityError(f"{where}: schema version {tree['schema_version']}, known is {SCHEMA_VERSION}", _HINT)
        files = tuple(WeightFile(str(f["name"]), int(f["bytes"]), str(f["sha256"])) for f in tree["files"])
        manifest = Manifest(int(tree["version"]), dict(tree["metadata"]), files, hashlib.sha256(data).hexdigest())
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{where}: not a manifest ({type(error).__name__}: {error})", _HINT) from error
    for file in manifest.files:
        name = PurePosixPath(file.name)
        if name.is_absolute() or ".." in name.parts or not name.parts:
            raise IntegrityError(f"{where}: names a file outside its folder: {file.name}", _HINT)
    return manifest


def published_versions(root: Path) -> list[int]:
    """Versions that have a folder below `root`, in order."""
    return sorted(
        int(match[1]) for path in root.glob("v*") if path.is_dir() and (match := _VERSION_NAME.fullmatch(path.name))
    )


def prune(root: Path, keep: int, protect: Collection[int] = ()) -> tuple[int, ...]:
    """Remove all but the newest `keep` versions and those in `protect`; return the removed ones, oldest first.

    A version disappears by a rename: a reader finds all of it or none.
    """
    versions = published_versions(root)
    doomed = tuple(version for version in versions[: max(0, len(versions) - keep)] if version not in protect)
    for version in doomed:
        _remove_version(version_directory(root, version))
    return doomed


def _write_manifest(directory: Path, version: int, metadata: Mapping[str, JsonValue]) -> None:
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    with ThreadPoolExecutor(1, "flush") as flusher:
        # The disk takes the files while they are hashed: it works, and a core does.
        flushed = [flusher.submit(fsync_file, path) for path in paths]
        digests = _digests(paths)
        for done in flushed:
            done.result()
    files = [
        asdict(WeightFile(path.relative_to(directory).as_posix(), path.stat().st_size, digest))
        for path, digest in zip(paths, digests, strict=True)
    ]
    tree: dict[str, JsonValue] = {
        "schema_version": SCHEMA_VERSION,
        "version": version,
        "metadata": dict(metadata),
        "files": files,
    }
    write_json(directory / MANIFEST, tree)


def _verified_or_none(directory: Path) -> Manifest | None:
    try:
        return verify(directory)
    except IntegrityError:
        return None


def _remove_version(directory: Path) -> None:
    if directory.exists():
        hidden = directory.with_name(f".{directory.name}.{os.getpid()}.removed")
        directory.rename(hidden)
        shutil.rmtree(hidden)


def _remove_leftovers(root: Path) -> None:
    """Remove what a writer that was killed left half-written or half-removed."""
    for pattern in (".v*.tmp", ".v*.removed"):
        for path in root.glob(pattern):
            shutil.rmtree(path)


def _digests(paths: Sequence[Path]) -> list[str]:
    """Sha256 of several files, on several cores: hashing is slower than a fast disk."""
    with ThreadPoolExecutor(_HASHERS, "sha256") as hashers:
        return list(hashers.map(file_sha256, paths))
