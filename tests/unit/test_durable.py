"""Durable writes leave the old content or the new, never a mixture."""

import json
import os
from pathlib import Path

import pytest

from hiper import durable


def test_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    durable.write_json(target, {"version": 1})
    durable.write_json(target, {"version": 2, "text": "ü"})
    assert json.loads(target.read_text()) == {"version": 2, "text": "ü"}
    assert os.listdir(tmp_path) == ["state.json"]


def test_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "state"
    durable.write_bytes(target, b"old")

    def fail(_descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        durable.write_bytes(target, b"new")
    assert target.read_bytes() == b"old"


def test_directory_appears_whole(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    (scratch / "inner").mkdir(parents=True)
    (scratch / "inner" / "a").write_text("1")
    durable.replace_directory(scratch, tmp_path / "v1")
    assert (tmp_path / "v1" / "inner" / "a").read_text() == "1"
    assert not scratch.exists()
