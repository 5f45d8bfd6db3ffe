"""Durable writes: one function for everybody who writes a file that must be whole after a crash.

A file is written under a temporary name, flushed to the disk, renamed over its target, and the folder is flushed too.
A reader sees the old content or the new content, never a mixture; after `write_bytes` returns, a power cut does not
take it back.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["JsonValue", "fsync_directory", "fsync_file", "fsync_tree", "replace_directory", "write_bytes", "write_json"]

JsonValue = str | int | float | bool | None | Sequence["JsonValue"] | Mapping[str, "JsonValue"]


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, atomically and durably."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    fsync_directory(path.parent)


def write_json(path: Path, value: JsonValue) -> None:
    """Replace `path` by `value` as indented JSON, atomically and durably."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def replace_directory(temporary: Path, target: Path) -> None:
    """Make a fully written `temporary` directory appear as `target`, which must not exist, atomically and durably."""
    fsync_tree(temporary)
    temporary.rename(target)
    fsync_directory(target.parent)


def fsync_tree(root: Path) -> None:
    """Flush every file and folder below `root`."""
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir():
            fsync_directory(path)
        else:
            fsync_file(path)
    fsync_directory(root)


def fsync_file(path: Path) -> None:
    """Flush a file's content."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def fsync_directory(path: Path) -> None:
    """Flush a folder's entries."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
