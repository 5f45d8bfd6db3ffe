"""Every test of the delivery contract runs on each kind of server that is installed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from stream_world import KINDS, Pipeline, World, new_world


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def world(kind: str, tmp_path: Path) -> AsyncIterator[World]:
    async with new_world(kind, tmp_path) as made:
        yield made


@pytest.fixture
async def pipeline(world: World) -> Pipeline:
    return await Pipeline.create(world)
