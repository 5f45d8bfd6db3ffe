"""The API against its own description: schemathesis sends what the document allows, and what it does not."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_world import TOKEN, new_world
from hypothesis import HealthCheck, given, settings

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install -e '.[dev]'")
DOCUMENT = Path(__file__).resolve().parents[3] / "services" / "control" / "openapi.json"
OPERATIONS = {
    operation.label: operation
    for operation in (found.ok() for found in schemathesis.openapi.from_path(DOCUMENT).get_all_operations())
    if "/api/" in operation.path
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with asyncio.Runner() as runner:
        world = new_world(tmp_path_factory.mktemp("fuzz"))
        made = runner.run(world.__aenter__())
        runner.run(made.dead_letters(2))
        yield made.url
        runner.run(world.__aexit__(None, None, None))


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_is_as_described(url: str, label: str, mode: "schemathesis.GenerationMode") -> None:
    @given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
    @settings(max_examples=15, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    def play(case: "schemathesis.Case") -> None:
        case.call_and_validate(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"})

    play()
