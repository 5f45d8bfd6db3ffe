"""A delta turns one file into another exactly, or says that it cannot."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.errors import IntegrityError
from hiper.weights import verify, version_directory, write_version
from hiper.weights.delta_codec import BLOCK_BYTES, apply_delta, write_delta
from hiper.weights.deltas import base_of, rebuild, write_deltas

NO_LIMIT = 2**40


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deltas")


def through(room: Path, old: bytes, new: bytes) -> bytes:
    """What the delta of `old` and `new` makes of `old`."""
    base, target, delta, made = (room / name for name in ("base", "target", "delta", "made"))
    base.write_bytes(old)
    target.write_bytes(new)
    assert write_delta(base, target, delta, limit=NO_LIMIT)
    assert apply_delta(base, delta, made) == hashlib.sha256(new).hexdigest()
    return made.read_bytes()


@given(st.data(), st.binary(max_size=600))
def test_any_file_comes_back_bit_for_bit(room: Path, data: st.DataObject, old: bytes) -> None:
    new = bytearray(old)
    if old:
        for place in data.draw(st.lists(st.integers(0, len(old) - 1), max_size=20)):
            new[place] = data.draw(st.integers(0, 255))
    assert through(room, old, bytes(new)) == bytes(new)


@pytest.mark.parametrize("length", [BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 3])
def test_files_of_several_blocks_and_distant_changes(room: Path, length: int) -> None:
    old = np.random.default_rng(0).integers(0, 256, length, dtype=np.uint8)
    new = old.copy()
    for place in (0, 1, 70_000, BLOCK_BYTES - 2, length - 1):
        new[place] ^= 0x5A
    assert through(room, old.tobytes(), new.tobytes()) == new.tobytes()


def test_changes_of_the_last_place_cost_about_a_byte_each(room: Path) -> None:
    generator = np.random.default_rng(1)
    words = generator.integers(0, 2**16, 400_000, dtype=np.uint16)
    ulp = generator.choice(np.array([1, 0xFFFF], dtype=np.uint16), len(words))
    stepped = words + (generator.random(len(words)) < 0.02) * ulp
    through(room, words.tobytes(), stepped.astype(np.uint16).tobytes())
    assert (room / "delta").stat().st_size < 1.5 * 0.02 * len(words), "two bytes each would be 2 of the 2 %"


def test_a_delta_that_does_not_pay_is_not_written(room: Path) -> None:
    base, target, delta = (room / name for name in ("random-a", "random-b", "no-delta"))
    for seed, path in enumerate((base, target)):
        path.write_bytes(np.random.default_rng(seed).bytes(100_000))
    assert not write_delta(base, target, delta, limit=100_000)
    target.write_bytes(b"longer" * 20_000)
    assert not write_delta(base, target, delta, limit=NO_LIMIT)
    assert not delta.exists()


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_damaged_delta_gives_an_error_or_another_sha256(room: Path, place: int, flip: int) -> None:
    generator = np.random.default_rng(2)
    old = generator.bytes(4000)
    new = bytearray(old)
    new[::37] = bytes(len(new[::37]))
    through(room, old, bytes(new))
    damaged = bytearray((room / "delta").read_bytes())
    damaged[place % len(damaged)] ^= flip
    (room / "damaged").write_bytes(damaged)
    try:
        digest = apply_delta(room / "base", room / "damaged", room / "made")
    except IntegrityError:
        return
    # A flip may hide in zlib's own header; what comes out is then what went in.
    assert digest == hashlib.sha256((room / "made").read_bytes()).hexdigest()
    if digest == hashlib.sha256(new).hexdigest():
        assert (room / "made").read_bytes() == new


def model(numbers: np.ndarray, **others: bytes) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        (directory / "model.safetensors").write_bytes(numbers.astype("<u2").tobytes())
        for name, content in others.items():
            (directory / name).write_bytes(content)

    return write


@pytest.fixture
def two_versions(tmp_path: Path) -> Path:
    numbers = np.random.default_rng(3).integers(0, 2**16, 50_000)
    write_version(tmp_path, 1, model(numbers, tokenizer=b"words"), {})
    write_version(tmp_path, 2, model(numbers + (np.arange(50_000) % 101 == 0), tokenizer=b"words"), {})
    return tmp_path


def test_the_delta_of_a_version_rebuilds_it(two_versions: Path) -> None:
    root = two_versions
    written = write_deltas(root, 1, 2)
    assert written is not None
    assert written.bytes < 3_000
    delta, old, new = (verify(path) for path in (written.directory, *(version_directory(root, v) for v in (1, 2))))
    assert [file.name for file in delta.files] == ["model.safetensors.delta"], "an unchanged file needs no delta"
    assert base_of(delta) == old.sha256
    file = next(file for file in new.files if file.name == "model.safetensors")
    base = version_directory(root, 1) / file.name
    rebuild(file, base, written.directory / f"{file.name}.delta", root / "made")
    assert (root / "made").read_bytes() == (version_directory(root, 2) / file.name).read_bytes()


def test_another_base_is_noticed_and_leaves_nothing(two_versions: Path) -> None:
    root = two_versions
    written = write_deltas(root, 1, 2)
    assert written is not None
    file = next(file for file in verify(version_directory(root, 2)).files if file.name == "model.safetensors")
    other = root / "other"
    other.write_bytes(bytes(file.bytes))
    with pytest.raises(IntegrityError, match=r"does not make model\.safetensors"):
        rebuild(file, other, written.directory / f"{file.name}.delta", root / "made")
    assert not (root / "made").exists()


def test_there_is_no_delta_without_a_base_or_of_rewritten_weights(two_versions: Path) -> None:
    root = two_versions
    assert write_deltas(root, 0, 2) is None
    write_version(root, 3, model(np.random.default_rng(4).integers(0, 2**16, 50_000)), {})
    assert write_deltas(root, 2, 3) is None
