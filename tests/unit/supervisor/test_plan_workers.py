"""The plan of several env server processes: their ports, their share of the cache, their number."""

import os
from pathlib import Path

import pytest

from hiper.config import RunConfig, parse_config
from hiper.errors import ConfigError
from hiper.ports import PortBook
from hiper.supervisor.plan import ProcessPlan
from hiper.supervisor.workers import ServeRequest, plan_workers, usable_processors

CONFIG: RunConfig = parse_config({"run": "r", "env": {"cache_mb": 100}}, source="test", environment={})


def planned(**environment: str) -> tuple[ProcessPlan, ...]:
    return plan_workers(ServeRequest(Path("c.json"), Path("run"), "env-0", 3), CONFIG, environment, PortBook())


def told(plans: tuple[ProcessPlan, ...], variable: str) -> list[str]:
    return [plan.environment[variable] for plan in plans]


def test_ports_are_counted_up_from_those_of_the_environment() -> None:
    plans = planned(HIPER_GRPC_ADDRESS="0.0.0.0:8600", HIPER_HTTP_ADDRESS="127.0.0.1:9000", HIPER_SEED="7")
    assert told(plans, "HIPER_GRPC_ADDRESS") == ["0.0.0.0:8600", "0.0.0.0:8601", "0.0.0.0:8602"]
    assert told(plans, "HIPER_HTTP_ADDRESS") == ["127.0.0.1:9000", "127.0.0.1:9001", "127.0.0.1:9002"]
    assert [plan.http for plan in plans] == told(plans, "HIPER_HTTP_ADDRESS")
    assert told(plans, "HIPER_SEED") == ["7"] * 3
    assert len({plan.name for plan in plans} & {plan.log.stem for plan in plans}) == 3


def test_without_ports_free_ones_are_taken() -> None:
    plans = planned()
    ports = told(plans, "HIPER_GRPC_ADDRESS") + told(plans, "HIPER_HTTP_ADDRESS")
    assert len(set(ports)) == 6
    assert all(address.startswith("127.0.0.1:") and not address.endswith(":0") for address in ports)
    assert "HIPER_OPENENV_SHARED" not in plans[0].environment


def test_the_cache_is_divided_and_no_worker_has_workers() -> None:
    plans = planned(HIPER_ENV__CACHE_MB="100")
    assert told(plans, "HIPER_ENV__CACHE_MB") == ["33"] * 3
    assert all(plan.argv[plan.argv.index("--workers") + 1] == "1" for plan in plans)


def test_openenv_clients_have_one_port_for_all() -> None:
    plans = planned(HIPER_OPENENV_ADDRESS="127.0.0.1:8000")
    assert told(plans, "HIPER_OPENENV_ADDRESS") == ["127.0.0.1:8000"] * 3
    assert told(plans, "HIPER_OPENENV_SHARED") == ["1"] * 3


@pytest.mark.parametrize("address", ["unix:/run/env", "127.0.0.1", "127.0.0.1:65534"])
def test_an_address_without_room_for_all_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="HIPER_GRPC_ADDRESS"):
        planned(HIPER_GRPC_ADDRESS=address)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000\n", None), ("100000 100000\n", 1), ("50000 100000\n", 1), ("100000000 100000\n", None), ("?", None)],
)
def test_processors_are_those_of_the_container(quota: str, expected: int | None, tmp_path: Path) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert usable_processors(file) == (expected or len(os.sched_getaffinity(0)))
    assert usable_processors(tmp_path / "none") == len(os.sched_getaffinity(0))
