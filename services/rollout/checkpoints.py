"""Reads what a Hugging Face checkpoint folder holds from its safetensors headers, without loading a tensor."""

import json
import struct
from pathlib import Path

from hiper.errors import IntegrityError

__all__ = ["Shapes", "check_fits", "tensor_shapes"]

Shapes = dict[str, tuple[int, ...]]
"""Shape by tensor name."""
_MAX_HEADER = 100 * 2**20
_TIED_HEAD = "lm_head.weight"
"""A checkpoint of a tied model may hold the head or leave it out."""


def tensor_shapes(directory: Path) -> Shapes:
    """Return the shape of every tensor in the safetensors files of `directory`; empty if there is no such file.

    Raises `IntegrityError` for a file that is not safetensors.
    """
    shapes: Shapes = {}
    for path in sorted(directory.glob("*.safetensors")):
        shapes |= _shapes(path)
    return shapes


def check_fits(directory: Path, model: Shapes) -> Shapes:
    """Return the shapes in `directory` if they are those of `model`, or `model` is empty. Raises `IntegrityError`.

    vLLM only warns of a tensor that a checkpoint lacks, and goes on with the old one.
    """
    shapes = tensor_shapes(directory)
    known = model or shapes
    for name in sorted(known.keys() | shapes.keys()):
        ours, theirs = known.get(name), shapes.get(name)
        if ours != theirs and not (name == _TIED_HEAD and None in (ours, theirs)):
            raise IntegrityError(f"{directory}: tensor {name} has shape {theirs}, the model's is {ours}")
    return known


def _shapes(path: Path) -> Shapes:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER:
                raise ValueError(f"a header of {length} bytes")
            header = dict(json.loads(file.read(length)))
        return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    except (LookupError, TypeError, ValueError, struct.error) as error:
        raise IntegrityError(f"{path}: not a safetensors file ({error})") from error
