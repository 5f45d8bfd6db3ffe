"""Trained models as files: tensors and optimiser states in safetensors, whole, by name."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hiper.errors import IntegrityError
from services.learner.backend import Backend, Tensors

__all__ = ["restore_trained", "save_trained"]


def save_trained(trained: Mapping[str, Backend], directory: Path | None) -> None:
    """Write `<name>.safetensors` and `<name>_optimiser.safetensors`; None: only help other ranks to."""
    for name, backend in trained.items():
        tensors = {name: backend.model_tensors(), f"{name}_optimiser": backend.optimiser_tensors()}
        if directory is not None:
            for file, content in tensors.items():
                save_file(content, directory / f"{file}.safetensors")


def restore_trained(trained: Mapping[str, Backend], directory: Path) -> None:
    """Take up what was saved. Raises `IntegrityError` for what cannot be read or is of another model or estimator."""
    for name in trained:
        if not (directory / f"{name}.safetensors").exists():
            raise IntegrityError(f"{directory} holds no {name}: it was written under another hae.estimator")
    try:
        for name, backend in trained.items():
            model, optimiser = (_load(directory / f"{file}.safetensors") for file in (name, f"{name}_optimiser"))
            backend.restore(model, optimiser)
    except (RuntimeError, KeyError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise IntegrityError(f"{directory} does not fit the configured model: {first_line}") from error


def _load(path: Path) -> Tensors:
    try:
        tensors: Tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}") from error
    return tensors
