"""The environment in this process: the tasks of the source, and failures that cost one episode only."""

import threading

import pytest

from hiper.config import parse_config
from hiper.config.sections import EnvSettings
from hiper.envs.custom import Play, StepResult, TextEnvironment
from hiper.envs.panels import make_panel
from hiper.envs.panels.choosing import settle_evaluation
from hiper.errors import DataError
from services.rollout.local_env import LocalEnvironment


class Doors(TextEnvironment):
    """`odd` raises, `stuck` does not answer before `released`; the others are won by any action."""

    env = "doors"
    released = threading.Event()

    def tasks(self) -> dict[str, list[str]]:
        return {"train": ["front"], "valid": ["back", "odd", "stuck"]}

    def play(self, task: str, seed: int) -> Play:
        action = yield StepResult(f"Your task is to: open the {task} door {seed}.", ("open",))
        if task == "odd":
            raise ZeroDivisionError("no such handle")
        if task == "stuck":
            self.released.wait(30)
        yield StepResult(action, (), reward=1.0, terminated=True, won=True, score=1.0)


def local(**settings: object) -> LocalEnvironment:
    return LocalEnvironment(Doors(), EnvSettings.model_validate(settings), threads=2)


async def test_an_episode_is_played_as_the_source_plays_it() -> None:
    env = local()
    first = await env.open("s", "back", seed=7, max_steps=5)
    assert first.observation == "Your task is to: open the back door 7."
    assert (env.describe("s").task_id, env.describe("s").split) == ("back", "valid")
    assert (await env.step("s", "open")).won
    await env.close("s")
    await env.close("s")
    with pytest.raises(DataError, match="garden"):
        await env.open("t", "garden", seed=0, max_steps=5)


async def test_what_an_environment_raises_names_the_task() -> None:
    env = local()
    await env.open("s", "odd", seed=0, max_steps=5)
    with pytest.raises(DataError, match="task odd: the environment raised ZeroDivisionError: no such handle"):
        await env.step("s", "open")


async def test_an_environment_that_does_not_answer_delays_no_other() -> None:
    env = local(step_timeout_s=0.05)
    for task in ("stuck", "back"):
        await env.open(task, task, seed=0, max_steps=5)
    with pytest.raises(DataError, match=r"task stuck: the environment gave no answer within 0\.05 s"):
        await env.step("stuck", "open")
    assert (await env.step("back", "open")).won
    Doors.released.set()


async def test_the_panel_is_chosen_by_the_rule_of_a_run() -> None:
    config = parse_config({"evaluation": {"tasks": 2}}, source="test", environment={})
    settled = await settle_evaluation(config, local())
    assert settled.panel == make_panel(Doors(), "valid")
    assert settled.split == "valid"
    assert settled.to_evaluate(config).name == "doors-1-valid (2 of 3)"
