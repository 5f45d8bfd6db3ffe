"""The documented example of an environment of one's own, behind gRPC, as a run meets it."""

from pathlib import Path

import pytest
from env_harness import in_process

from hiper.config import parse_config
from hiper.config.sections import EnvSettings
from hiper.envs.custom import open_custom
from hiper.rpc.env_client import EnvClient
from services.learner.panels import choose_panels
from services.learner.tasks import TaskPlan

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
NAME = "key_and_door:KeyAndDoor"
PLAN = ["go right", "take key", "go right", "dance", "open door"]


@pytest.fixture(autouse=True)
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)


async def test_it_is_played_and_trained_on_like_a_built_in_one() -> None:
    config = parse_config({"run": "r", "env": {"name": NAME, "options": {"rooms": 5}}}, source="test", environment={})
    async with in_process(config.env) as server:
        settings = EnvSettings.model_validate({**config.env.model_dump(), "addresses": (server.address,)})
        async with EnvClient(settings) as client:
            task = "valid/1-2"
            played = [await client.open("s", task, 0, 50)]
            played += [await client.step("s", action) for action in PLAN]
            info = client.describe("s")
            plan = TaskPlan(config, await choose_panels(config, client))

    episode = open_custom(NAME, None, {"rooms": 5}).open(task)
    assert played == [episode.reset(), *(episode.step(action) for action in PLAN)]
    assert [step.action_valid for step in played] == [True, True, True, True, False, True]
    assert played[-1].won
    assert (info.task_type, info.split) == ("key-and-door", "valid")
    assert plan.panels.evaluation.name == "key-and-door-1-5-valid"
    assert {made.env for made in plan.train_batch(0)} == {"key-and-door"}
    assert {made.task_id.partition("/")[0] for made in plan.train_batch(0)} == {"train"}
