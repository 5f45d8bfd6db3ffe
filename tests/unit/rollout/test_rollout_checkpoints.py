import json
import struct
from pathlib import Path

import pytest

from hiper.errors import IntegrityError
from services.rollout.checkpoints import tensor_shapes


def write(path: Path, header: dict[str, object]) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


def test_shapes_of_all_shards_are_read(tmp_path: Path) -> None:
    tensor = {"dtype": "F32", "data_offsets": [0, 24]}
    write(tmp_path / "a.safetensors", {"__metadata__": {"format": "pt"}, "x": tensor | {"shape": [2, 3]}})
    write(tmp_path / "b.safetensors", {"y": tensor | {"shape": [6]}})
    assert tensor_shapes(tmp_path) == {"x": (2, 3), "y": (6,)}


def test_a_folder_without_tensors_has_none(tmp_path: Path) -> None:
    assert tensor_shapes(tmp_path) == {}


@pytest.mark.parametrize("content", [b"", b"abc", struct.pack("<Q", 2**60), struct.pack("<Q", 5) + b"12345"])
def test_a_file_that_is_not_safetensors_is_an_error_naming_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.safetensors").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"bad\.safetensors"):
        tensor_shapes(tmp_path)
