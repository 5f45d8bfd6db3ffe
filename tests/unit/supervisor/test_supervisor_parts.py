"""Parts of the supervisor: order, lock, ports, run directories, the live view."""

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from hiper.config import RunConfig, parse_config
from hiper.errors import ConfigError, RunStateError
from hiper.ports import PortBook, is_free
from hiper.supervisor.lock import RunLock, holder
from hiper.supervisor.observer import Observation
from hiper.supervisor.plan import BrokerPlace, ProcessPlan, plan_run, wished_scale
from hiper.supervisor.run_directory import move_aside, open_run_directory
from hiper.supervisor.status import ProcessState, ProcessStatus
from hiper.supervisor.table import BROKER, SERVICES, WARMSTART, layers
from hiper.supervisor.targets import write_targets
from hiper.supervisor.text import printable
from hiper.supervisor.view import dashboard, plain_line, sparkline


def config(**tree: object) -> RunConfig:
    return parse_config(tree, source="test", environment={})


def test_services_start_after_what_they_require() -> None:
    order = layers({BROKER: (), WARMSTART: (), **{spec.name: spec.requires for spec in SERVICES}})
    position = {name: number for number, layer in enumerate(order) for name in layer}
    for spec in SERVICES:
        assert all(position[needed] < position[spec.name] for needed in spec.requires)


def test_circle_of_requirements_is_refused() -> None:
    with pytest.raises(ValueError, match="wait for each other"):
        layers({"a": ("b",), "b": ("a",)})


def test_second_supervisor_of_a_run_is_refused_by_pid(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        pid = holder(tmp_path)
        with pytest.raises(RunStateError, match=f"in use by process {pid}"), RunLock(tmp_path):
            pass
    assert holder(tmp_path) is None
    with RunLock(tmp_path):
        pass


def test_ports_are_free_distinct_and_stable() -> None:
    book = PortBook()
    ports = {name: book.port(name) for name in "abcdef"}
    assert len(set(ports.values())) == len(ports)
    assert all(is_free(port) for port in ports.values())
    assert ports == {name: book.port(name) for name in "abcdef"}


def test_run_goes_on_only_with_the_same_settings(tmp_path: Path) -> None:
    open_run_directory(tmp_path / "run", config(seed=1))
    open_run_directory(tmp_path / "run", config(seed=1))
    with pytest.raises(RunStateError, match=r"learner\.iterations was 150, now 3"):
        open_run_directory(tmp_path / "run", config(seed=1, learner={"iterations": 3}))
    assert move_aside(tmp_path / "run") == tmp_path / "run.1"
    open_run_directory(tmp_path / "run", config(seed=2))
    assert move_aside(tmp_path / "run") == tmp_path / "run.2"
    assert move_aside(tmp_path / "run") is None


def test_broker_password_is_not_written_to_the_run(tmp_path: Path) -> None:
    open_run_directory(tmp_path, config(broker={"url": "redis://:hunter2@localhost:1"}))
    assert "hunter2" not in (tmp_path / "config.json").read_text()


def test_sparkline_spans_its_range() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"


HOSTILE = "\x1b[2Jboom\r\n\x07"
STATUS = ProcessStatus("rollout-0", "rollout", ProcessState.BACKOFF, detail=printable(HOSTILE), restarts=2)


def test_views_show_the_run_and_no_control_characters() -> None:
    seen = Observation(
        None,
        [{"version": 2, "success": 0.25, "turns": 10.0, "time": 5.0, "response_tokens": 7}],
        [{"version": 0, "success": 0.5}],
    )
    line = plain_line(config(), seen, [STATUS], time.time())
    assert "version 2/150" in line
    assert "panel 50% at version 0" in line
    assert "rollout-0 restarting" in line
    screen = io.StringIO()
    console = Console(file=screen, width=120, no_color=True, force_terminal=False)
    console.print(dashboard(config(), seen, [STATUS], time.time(), printable(HOSTILE)))
    assert "boom" in screen.getvalue()
    assert "\x1b" not in screen.getvalue()
    assert "waiting for the broker" in screen.getvalue()


def test_wishes_change_only_what_may_change_while_a_run_goes_on() -> None:
    wishes = {"rollout": 3, "hae": 0, "learner": 2, "env_server": 4, "control": 2, "nothing": 1}
    assert wished_scale({"hae": 2, "env_server": 1}, wishes) == {"hae": 2, "env_server": 1, "rollout": 3}


def test_the_control_service_runs_on_request(tmp_path: Path) -> None:
    def plan(**scale: int) -> dict[str, ProcessPlan]:
        place = BrokerPlace("redis://127.0.0.1:1/0")
        return {one.name: one for one in plan_run(config(supervisor={"scale": scale}), tmp_path, place, PortBook())}

    assert "control-0" not in plan()
    asked = plan(control=1)["control-0"]
    assert asked.environment["HIPER_CONTROL_ADDRESS"].startswith("127.0.0.1:")
    assert asked.environment["HIPER_CONTROL_ADDRESS"] != asked.http


@pytest.mark.parametrize(
    ("cores", "said"),
    [({"lerner": [0]}, "no service 'lerner'"), ({"learner": [0, 4096]}, r"cores\.learner: there is no core 4096")],
)
def test_cores_that_cannot_be_had_are_refused(tmp_path: Path, cores: dict[str, list[int]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        plan_run(config(supervisor={"cores": cores}), tmp_path, BrokerPlace("redis://127.0.0.1:1/0"), PortBook())


def test_prometheus_is_told_every_process_that_serves_metrics(tmp_path: Path) -> None:
    plans = plan_run(config(run="r"), tmp_path, BrokerPlace("redis://127.0.0.1:1/0"), PortBook())
    write_targets(tmp_path, "r", plans)
    targets = json.loads((tmp_path / "targets.json").read_text())
    assert {one["labels"]["component"] for one in targets} == {"env_server", "reward", "hae", "learner", "rollout"}
    assert [one["targets"] for one in targets] == [[plan.http] for plan in plans if plan.http]


def test_how_processes_are_run_may_differ_each_time(tmp_path: Path) -> None:
    open_run_directory(tmp_path / "run", config(supervisor={"scale": {"rollout": 1}}))
    open_run_directory(tmp_path / "run", config(supervisor={"scale": {"rollout": 2, "control": 1}}))


def test_a_learner_exits_here_whatever_it_does_elsewhere(tmp_path: Path) -> None:
    idling = config(learner={"when_done": "idle"})
    plans = plan_run(idling, tmp_path, BrokerPlace("redis://127.0.0.1:1/0"), PortBook())
    told = {plan.name: plan.environment.get("HIPER_LEARNER__WHEN_DONE") for plan in plans}
    assert told.pop("learner-0") == "exit"
    assert set(told.values()) == {None}
