"""The difference of two files of one length, exact bit for bit: which 16-bit words changed, and by how much.

Made for checkpoints in bfloat16 whose numbers move by a unit in the last place or not at all: there a change costs
about one byte instead of two for every number. Any other file is encoded as exactly, only not as small.

Format, little-endian: `HWD1`, u64 length of the file; then for every `BLOCK_BYTES` of it u32 number of entries, three
u32 lengths and as many zlib streams of one byte an entry: the distance to the entry before (in words, 1-255), the low
and the high byte of what is added to the word, modulo 65,536. A longer distance is bridged by entries that add nothing.
Memory is bounded by a block on both sides, whatever the stream says.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from hiper.errors import IntegrityError

__all__ = ["BLOCK_BYTES", "apply_delta", "write_delta"]

BLOCK_BYTES = 16 * 2**20
_MAGIC = b"HWD1"
_FILE_HEADER = struct.Struct("<4sQ")
_PLANES = 3
_BLOCK_HEADER = struct.Struct(f"<{1 + _PLANES}I")
_LONGEST_GAP = 255
_LEVEL = 1
"""Of zlib: higher ones gain a few per cent and cost several times the time."""

Words = NDArray[np.uint16]
Bytes = NDArray[np.uint8]


def write_delta(base: Path, target: Path, path: Path, *, limit: int) -> bool:
    """Write what turns `base` into `target` to `path`.

    False, and nothing is written, if the two differ in length or the delta would take `limit` bytes or more.
    """
    length = target.stat().st_size
    if base.stat().st_size != length:
        return False
    with base.open("rb") as old, target.open("rb") as new, path.open("wb") as out:
        out.write(_FILE_HEADER.pack(_MAGIC, length))
        while block := new.read(BLOCK_BYTES):
            out.write(_encode(_words(old.read(BLOCK_BYTES)), _words(block)))
            if out.tell() >= limit:
                break
        written = out.tell()
    if written >= limit:
        path.unlink()
    return written < limit


def apply_delta(base: Path, delta: Path, path: Path, between: Callable[[], None] = lambda: None) -> str:
    """Write what `delta` makes of `base` to `path` and return its sha256. `between` is called after every block.

    Raises `IntegrityError` if the delta is damaged or of another base's length; only the sha256 proves the rest.
    """
    digest = hashlib.sha256()
    with base.open("rb") as old, delta.open("rb") as changes, path.open("wb") as out:
        header = changes.read(_FILE_HEADER.size)
        if header != _FILE_HEADER.pack(_MAGIC, base.stat().st_size):
            raise IntegrityError(f"{delta}: no delta of {base}")
        for block in _blocks(old):
            words = _words(block)
            _decode(words, changes, delta)
            made = memoryview(words.tobytes())[: len(block)]
            out.write(made)
            digest.update(made)
            between()
        if changes.read(1):
            raise IntegrityError(f"{delta}: goes on after its end")
    return digest.hexdigest()


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block


def _words(block: bytes) -> Words:
    """A block as words of its own memory; an odd one is filled up with a zero byte."""
    return np.frombuffer(block + b"\0" * (len(block) % 2), dtype="<u2").copy()


def _encode(base: Words, target: Words) -> bytes:
    changed = np.flatnonzero(base != target)
    gaps = np.diff(changed, prepend=-1)
    bridges = (gaps - 1) // _LONGEST_GAP
    entries = len(changed) + int(bridges.sum())
    last = np.cumsum(bridges + 1) - 1  # the entry of each change, after its bridges
    distance = np.full(entries, _LONGEST_GAP, dtype=np.uint8)
    distance[last] = gaps - _LONGEST_GAP * bridges
    added = np.zeros(entries, dtype="<u2")
    added[last] = target[changed] - base[changed]
    planes = (distance, (added & 0xFF).astype(np.uint8), (added >> 8).astype(np.uint8))
    packed = [zlib.compress(plane.tobytes(), _LEVEL) for plane in planes]
    return _BLOCK_HEADER.pack(entries, *map(len, packed)) + b"".join(packed)


def _decode(words: Words, changes: IO[bytes], name: Path) -> None:
    """Apply one block's changes to `words` in place."""
    header = changes.read(_BLOCK_HEADER.size)
    if len(header) != _BLOCK_HEADER.size:
        raise IntegrityError(f"{name}: ends early")
    entries, *lengths = _BLOCK_HEADER.unpack(header)
    if entries > len(words):  # every entry moves on by a word at least
        raise IntegrityError(f"{name}: a block of {len(words)} words with {entries} changes")
    distance, low, high = (_plane(changes.read(min(length, BLOCK_BYTES)), entries, name) for length in lengths)
    places = np.cumsum(distance, dtype=np.int64) - 1
    if entries and (places[-1] >= len(words) or distance.min() == 0):
        raise IntegrityError(f"{name}: changes something outside its block")
    words[places] += low.astype("<u2") | (high.astype("<u2") << 8)


def _plane(packed: bytes, entries: int, name: Path) -> Bytes:
    unpacker = zlib.decompressobj()
    try:
        # zlib takes 0 for "no limit"; one byte more than wanted shows a stream that is too long.
        plane = unpacker.decompress(packed, entries + 1)
    except zlib.error as error:
        raise IntegrityError(f"{name}: {error}") from error
    if len(plane) != entries or not unpacker.eof:
        raise IntegrityError(f"{name}: a block's length is not what it says")
    return np.frombuffer(plane, dtype=np.uint8)
