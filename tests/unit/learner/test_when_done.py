"""A learner whose run is at its end, and one that has nothing to play: neither loads a model."""

import asyncio
import json
from pathlib import Path

import pytest

from hiper import logs
from hiper.config import parse_config
from hiper.errors import ConfigError
from hiper.report import RunFiles
from hiper.service import Health, ServiceContext
from services.learner import app


class ModelLoadedError(Exception):
    pass


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_config: object) -> None:
        raise ModelLoadedError

    monkeypatch.setattr(app, "build_trainer", load)


def context(run_dir: Path, **learner: object) -> ServiceContext:
    tree = {
        "learner": {"iterations": 4, "when_done": "idle", **learner},
        "env": {"addresses": ["127.0.0.1:1"]},
        "evaluation": {"panel": "no/such.json"},
    }
    config = parse_config(tree, source="test", environment={})
    return ServiceContext(config, run_dir, "learner-0", Health(), asyncio.Event(), logs.get())


@pytest.mark.parametrize("mark", [{"policy_version": 4}, {"policy_version": 2, "stopped": True}])
async def test_a_run_at_its_end_is_rested_on_until_the_learner_is_stopped(tmp_path: Path, mark: object) -> None:
    (tmp_path / "finished.json").write_text(json.dumps(mark))
    here = context(tmp_path)
    resting = asyncio.create_task(app.main(here))
    await asyncio.sleep(0)
    assert not resting.done()
    assert here.health.ready()
    assert {check.detail for check in here.health.checks().values()} == {"the run is at its end"}
    here.stop.set()
    await resting


@pytest.mark.parametrize("settings", [{"iterations": 5}, {"when_done": "exit"}])
async def test_a_run_that_goes_on_and_a_learner_that_exits_do_not_rest(tmp_path: Path, settings: dict) -> None:
    (tmp_path / "finished.json").write_text('{"policy_version": 4}')
    with pytest.raises(ConfigError, match=r"no/such\.json"):
        await app.main(context(tmp_path, **settings))


async def test_panels_are_looked_at_before_a_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no/such\.json: cannot be read"):
        await app.main(context(tmp_path))


def test_a_run_is_done_with_its_last_iteration_or_where_a_person_ended_it(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    assert not files.done(1)
    (tmp_path / "finished.json").write_text('{"policy_version": 4}')
    assert (files.done(4), files.done(5)) == (True, False)
    (tmp_path / "finished.json").write_text('{"policy_version": 2, "stopped": true}')
    assert files.done(5)
