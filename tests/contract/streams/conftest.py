"""Every test of the delivery contract runs on each kind of server that is installed, and in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from stream_world import KINDS, Pipeline, ServerWorld, World, new_world


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def world(kind: str, tmp_path: Path) -> AsyncIterator[World]:
    async with new_world(kind, tmp_path) as made:
        yield made


@pytest.fixture(params=[kind for kind in KINDS if kind != "memory"])
async def server_world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ServerWorld]:
    """For what only a server process can do: die, fill up, be configured."""
    async with new_world(str(request.param), tmp_path) as made:
        assert isinstance(made, ServerWorld)
        yield made


@pytest.fixture
async def pipeline(world: World) -> Pipeline:
    return await Pipeline.create(world)
