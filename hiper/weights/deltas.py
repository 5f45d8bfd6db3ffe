"""Deltas between published versions: the learner writes them, a rollout that has the base makes the version of them.

A version's delta is itself a version folder, below `deltas/`: one `<file>.delta` for every file that is smaller that
way, and a manifest that names both ends by their manifests' sha256. Files without one are fetched as they are. The
rebuilt file is held against the sha256 of the version's own manifest, so a wrong delta costs time and nothing else.
"""

from collections.abc import Callable
from pathlib import Path

from hiper.errors import IntegrityError
from hiper.weights.delta_codec import apply_delta, write_delta
from hiper.weights.manifest import (
    Manifest,
    PublishedWeights,
    WeightFile,
    read_manifest,
    version_directory,
    write_version,
)

__all__ = ["DELTAS", "SUFFIX", "base_of", "rebuild", "write_deltas"]

DELTAS = "deltas"
"""Folder of the deltas below a root of versions."""
SUFFIX = ".delta"


def write_deltas(root: Path, base: int, version: int) -> PublishedWeights | None:
    """Write the delta from `base` to `version`, both published below `root`.

    None if `base` is not there (any more) or no file is smaller as a delta.
    """
    old, new = version_directory(root, base), version_directory(root, version)
    if base == version or not old.is_dir():
        return None
    try:
        ours, theirs = read_manifest(new), {file.name: file for file in read_manifest(old).files}
    except IntegrityError:  # the base is pruned just now
        return None
    changed = [file for file in ours.files if file.name in theirs and theirs[file.name].sha256 != file.sha256]

    def write(directory: Path) -> None:
        for file in changed:
            path = directory / (file.name + SUFFIX)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_delta(old / file.name, new / file.name, path, limit=file.bytes)

    ends = {"base_sha256": read_manifest(old).sha256, "target_sha256": ours.sha256}
    written = write_version(root / DELTAS, version, write, ends)
    return written if written.bytes else None


def base_of(delta: Manifest) -> str:
    """Sha256 of the manifest of the version a delta starts from."""
    return str(delta.metadata.get("base_sha256", ""))


def rebuild(file: WeightFile, base: Path, delta: Path, path: Path, between: Callable[[], None] = lambda: None) -> None:
    """Make `file` of a version at `path`. Raises `IntegrityError`, and leaves nothing, if it comes out as another."""
    try:
        digest = apply_delta(base, delta, path, between)
        if digest != file.sha256:
            raise IntegrityError(f"{delta}: does not make {file.name} of {base}: its sha256 is {digest}")
    except (IntegrityError, OSError):
        path.unlink(missing_ok=True)
        raise
