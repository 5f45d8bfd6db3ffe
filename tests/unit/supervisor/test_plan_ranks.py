"""The plan of a learner of several processes: how it is started, and what is refused before anything is."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from hiper.config import RunConfig, parse_config
from hiper.errors import ConfigError, DependencyError
from hiper.ports import PortBook
from hiper.supervisor import plan as planning
from hiper.supervisor.plan import BrokerPlace, ProcessPlan, plan_run
from hiper.supervisor.up import UpRequest, run_up

DEEPSPEED = {"backend": {"name": "deepspeed"}}


def installed(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    spec = importlib.util.find_spec("hiper")
    monkeypatch.setattr(planning, "find_spec", lambda name: spec if name in packages else None)


def asked(processes: int, **learner: Any) -> RunConfig:
    tree = {"run": "r", "learner": learner, "supervisor": {"scale": {"learner": processes}}}
    return parse_config(tree, source="test", environment={})


def planned(tmp_path: Path, processes: int, **learner: Any) -> list[ProcessPlan]:
    plans = plan_run(asked(processes, **learner), tmp_path, BrokerPlace("redis://127.0.0.1:1/0"), PortBook())
    return [plan for plan in plans if plan.service == "learner"]


def test_ranks_are_one_process_of_the_plan_that_starts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "deepspeed")
    (one,) = planned(tmp_path, 1, **DEEPSPEED)
    (two,) = planned(tmp_path, 2, **DEEPSPEED)
    assert "--processes" not in one.argv
    assert two.argv[two.argv.index("learner") :][:3] == ("learner", "--processes", "2")
    assert two.name == one.name == "learner-0"


def test_one_process_is_all_that_torch_alone_can_use(tmp_path: Path) -> None:
    assert len(planned(tmp_path, 1)) == 1
    with pytest.raises(ConfigError, match="a learner of 2 processes") as refused:
        planned(tmp_path, 2)
    assert "deepspeed" in refused.value.hint


@pytest.mark.parametrize("processes", [1, 2])
def test_a_backend_that_is_not_installed_is_refused_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    installed(monkeypatch)
    with pytest.raises(DependencyError, match="deepspeed") as refused:
        planned(tmp_path, processes, **DEEPSPEED)
    assert "pip install" in refused.value.hint


def test_what_is_refused_leaves_no_run_behind(tmp_path: Path) -> None:
    """Its settings would bind the next attempt, which mends them."""
    run_dir = tmp_path / "run"
    with pytest.raises(ConfigError):
        run_up(UpRequest(asked(2), run_dir, fresh=False, live=False))
    assert not run_dir.exists()
