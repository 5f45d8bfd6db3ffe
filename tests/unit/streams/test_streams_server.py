"""Which servers may keep a run, decided from INFO."""

import pytest

from hiper.config.sections import BrokerSettings
from hiper.streams.server import ServerInfo, objections, version_tuple

FIT = {"redis_version": "7.0.15", "maxmemory_policy": "noeviction", "maxmemory": 1, "aof_enabled": 1}


def wrong(settings: BrokerSettings | None = None, **changes: object) -> list[str]:
    return [message for message, _ in objections(ServerInfo.parse(FIT | changes), settings or BrokerSettings())]


def test_a_fit_server_has_nothing_against_it() -> None:
    assert wrong() == []
    assert wrong(valkey_version="7.2.0") == []


@pytest.mark.parametrize(
    "version",
    [{"redis_version": "6.2.14"}, {"redis_version": "7.2.4", "valkey_version": "7.1.9"}, {"redis_version": "unstable"}],
)
def test_an_old_or_unknown_version_is_refused(version: dict[str, str]) -> None:
    (message,) = wrong(**version)
    assert "too old" in message


def test_valkey_is_judged_by_its_own_version() -> None:
    info = ServerInfo.parse(FIT | {"redis_version": "7.2.4", "valkey_version": "9.1.2"})
    assert info.name == "Valkey 9.1.2"


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", ""])
def test_a_server_that_evicts_is_refused(policy: str) -> None:
    (message,) = wrong(maxmemory_policy=policy)
    assert "maxmemory-policy" in message


def test_a_server_without_append_only_file_is_refused_unless_loss_is_accepted() -> None:
    (message,) = wrong(aof_enabled=0)
    assert "append-only" in message
    assert wrong(BrokerSettings(allow_data_loss=True), aof_enabled=0) == []


def test_a_server_that_hides_everything_is_refused_on_every_count() -> None:
    assert len(objections(ServerInfo.parse({}), BrokerSettings())) == 3


@pytest.mark.parametrize(("text", "expected"), [("7.0.15", (7, 0, 15)), ("8.0-rc1", (8,)), ("", ())])
def test_versions(text: str, expected: tuple[int, ...]) -> None:
    assert version_tuple(text) == expected
