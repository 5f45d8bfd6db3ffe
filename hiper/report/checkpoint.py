"""Finding a model where people have it: a run, one of its published versions, an export, or any Hugging Face folder.

A model is known by `sha256`, over names and hashes of its files: a version and its export are the same model, whatever
was written beside it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hiper.checksums import file_sha256
from hiper.errors import DataError
from hiper.report.files import RunFiles, Tree
from hiper.weights.manifest import MANIFEST, published_versions, verify, version_directory

__all__ = ["SETTINGS", "Checkpoint", "chosen_version", "find_checkpoint"]

SETTINGS = "hiper_config.json"
"""Settings of the run an export is from, beside its weights."""
_NOT_THE_MODEL = frozenset({MANIFEST, SETTINGS, "README.md", "warmstart.json"})
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that can be played."""

    path: str
    """Folder in Hugging Face format, or a name on the hub."""
    version: int | None
    """Policy version, where it is one of a run."""
    sha256: str
    """Of the model's files; empty for a name on the hub."""
    settings: Tree
    """Of the run it is from; empty if it does not say."""
    settings_file: str
    """Where they are written."""


def find_checkpoint(model: str, version: int | None = None) -> Checkpoint:
    """The model at a path, or of that name on the hub. `version` chooses one of a run; None: the newest.

    Raises `DataError` where there is no model, and `IntegrityError` for damaged weights.
    """
    folder = Path(model)
    if not folder.exists():
        if _HUB_NAME.fullmatch(model) and not model.startswith("."):
            return Checkpoint(model, None, "", {}, "")
        raise DataError(f"there is no model at {model}", "give a folder in Hugging Face format, or the folder of a run")
    if published_versions(folder / "weights"):
        folder = version_directory(folder / "weights", chosen_version(folder, version))
    elif version is not None:
        raise DataError(f"{folder} holds no published versions", "leave out --version, or give the folder of a run")
    if not _is_model(folder):
        hint = "give a folder with config.json and safetensors files, or the folder of a run"
        raise DataError(f"{folder} holds no model in Hugging Face format", hint)
    found, hashes = _files(folder)
    settings, written_in = _settings(folder)
    return Checkpoint(str(folder), found, _digest(hashes), settings, written_in)


def chosen_version(run_dir: Path, version: int | None) -> int:
    """The version of a run that is meant, the newest on disk by default. Raises `DataError` if there is none."""
    versions = published_versions(run_dir / "weights")
    if not versions:
        raise DataError(f"{run_dir} holds no published weights", "give the folder of a run")
    chosen = versions[-1] if version is None else version
    if chosen not in versions:
        known = ", ".join(map(str, versions))
        raise DataError(f"version {chosen} is not on disk", f"there are {known}; learner.keep_weights keeps more")
    return chosen


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def _files(folder: Path) -> tuple[int | None, dict[str, str]]:
    """The policy version, if it is a published one, and the hashes of the files, which are verified then."""
    if (folder / MANIFEST).exists():
        manifest = verify(folder)
        return manifest.version, {file.name: file.sha256 for file in manifest.files}
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return None, {path.name: file_sha256(path) for path in files}


def _settings(folder: Path) -> tuple[Tree, str]:
    """The settings written beside an export, or those of the run whose version or base model this is."""
    for place, name in ((folder, SETTINGS), (folder.parent.parent, "config.json"), (folder.parent, "config.json")):
        tree = RunFiles(place).tree(name)
        if "run" in tree and "rollout" in tree:
            return tree, str(place / name)
    return {}, ""


def _digest(hashes: Mapping[str, str]) -> str:
    listed = sorted((name, digest) for name, digest in hashes.items() if name not in _NOT_THE_MODEL)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()
