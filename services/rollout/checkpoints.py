"""Reads what a Hugging Face checkpoint folder holds from its safetensors headers, without loading a tensor."""

import json
import struct
from pathlib import Path

from hiper.errors import IntegrityError

__all__ = ["Shapes", "tensor_shapes"]

Shapes = dict[str, tuple[int, ...]]
"""Shape by tensor name."""
_MAX_HEADER = 100 * 2**20


def tensor_shapes(directory: Path) -> Shapes:
    """Return the shape of every tensor in the safetensors files of `directory`; empty if there is no such file.

    Raises `IntegrityError` for a file that is not safetensors.
    """
    shapes: Shapes = {}
    for path in sorted(directory.glob("*.safetensors")):
        shapes |= _shapes(path)
    return shapes


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
