"""WebShop behind gRPC: what a player sees there is what the engine shows, and a run's panels are its splits."""

import asyncio

from env_harness import in_process

from hiper.config import parse_config
from hiper.config.sections import EnvSettings
from hiper.envs.base import StepResult
from hiper.envs.webshop.shopper import walkthrough
from hiper.envs.webshop.tasks import ShopTasks
from hiper.rpc.env_client import EnvClient
from services.learner.panels import choose_panels

SHOP = {"name": "webshop", "synthetic_valid": 20, "max_steps": 15, "webshop": {"synthetic_products": 80}}


def settings(*addresses: str) -> EnvSettings:
    return EnvSettings.model_validate({**SHOP, "addresses": addresses})


def plan_of(source: ShopTasks, task_id: str) -> list[str]:
    plan = walkthrough(source.shop, source.open(task_id).goal)
    assert plan is not None
    return ["dance", *plan]


def played_locally(source: ShopTasks, task_id: str) -> list[StepResult]:
    episode = source.open(task_id, max_steps=15)
    return [episode.reset(), *map(episode.step, plan_of(source, task_id))]


async def play(client: EnvClient, source: ShopTasks, task_id: str) -> list[StepResult]:
    shown = [await client.open(f"run/{task_id}", task_id, seed=0, max_steps=15)]
    for action in plan_of(source, task_id):
        shown.append(await client.step(f"run/{task_id}", action))
    await client.close(f"run/{task_id}")
    return shown


async def test_episodes_equal_the_engines() -> None:
    async with in_process(settings()) as server, EnvClient(settings(server.address)) as client:
        source = server.source
        assert isinstance(source, ShopTasks)
        ids = source.ids("test")
        for task_id, shown in zip(ids, await asyncio.gather(*(play(client, source, i) for i in ids)), strict=True):
            assert shown == played_locally(source, task_id)
            assert [step.has_search_bar for step in shown[:3]] == [True, True, False]
            assert shown[-1].won


async def test_a_run_trains_on_other_products_than_it_evaluates_on() -> None:
    async with in_process(settings()) as server, EnvClient(settings(server.address)) as client:
        config = parse_config({"run": "r", "env": SHOP}, source="test", environment={})
        panels = await choose_panels(config, client)
        evaluated, trained = (
            {task.id.split("/")[1] for task in panel.tasks} for panel in (panels.evaluation, panels.train)
        )
        assert panels.split == "test"
        assert len(panels.evaluation.tasks) == 20
        assert evaluated
        assert trained
        assert not evaluated & trained
