"""Fixtures of the env server's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from env_harness import Process


@pytest.fixture
def env_process(tmp_path: Path) -> Iterator[Process]:
    """An env server that is not running yet."""
    process = Process(tmp_path)
    yield process
    process.kill()
