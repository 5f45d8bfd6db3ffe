"""Services that somebody else runs, as control sees them: over real HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from hiper.config import RunConfig
from hiper.errors import ConfigError, RunStateError
from hiper.service import Health
from hiper.service.http import HttpServer, create_app
from services.control.access import Access
from services.control.api import create_api
from services.control.desk import Desk
from services.control.watching import SERVICES_VARIABLE, WatchedServices


@contextmanager
def process(**checks: bool) -> Iterator[str]:
    """A process with these readiness checks; its address."""
    health = Health()
    for name, holds in checks.items():
        health.set(name, holds, "" if holds else "connecting")
    with HttpServer(create_app("reward", health), "127.0.0.1:0") as server:
        yield f"localhost:{server.port}"


async def test_each_process_says_whether_it_can_serve_and_why_not() -> None:
    with process(broker=True) as ready, process(broker=False, games=True) as waiting:
        services = await WatchedServices([ready, waiting]).services()
    assert [(one.service, one.wanted, one.ready, one.scalable) for one in services] == [
        ("localhost", 1, 1, False),
        ("localhost", 1, 0, False),
    ]
    (well,), (unwell,) = (one.processes for one in services)
    assert (well.state, well.detail, well.restarts) == ("ready", "", None)
    assert (unwell.state, unwell.detail) == ("not ready", "broker: connecting")


@pytest.mark.parametrize(
    ("address", "name", "detail"),
    [
        ("localhost:1", "127.0.0.1:1", "no answer over HTTP"),
        ("nowhere.invalid:8080", "nowhere.invalid:8080", "nowhere.invalid has no address"),
    ],
)
async def test_what_is_away_is_listed_as_away(address: str, name: str, detail: str) -> None:
    (service,) = await WatchedServices([address]).services()
    assert (service.wanted >= 1, service.ready) == (True, 0)
    assert (name, "away", detail) in [(one.name, one.state, one.detail) for one in service.processes]


async def test_every_address_of_a_name_is_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the resolver of an engine answers for a service with replicas."""
    with process(broker=True) as ready:
        port = int(ready.rpartition(":")[2])
        found = [(2, 1, 6, "", (host, port)) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr("socket.getaddrinfo", lambda *_query, **_more: found)
        (service,) = await WatchedServices([f"rollout:{port}"]).services()
    assert (service.service, service.wanted, service.ready) == ("rollout", 2, 1)
    assert [(one.name, one.state) for one in service.processes] == [
        (f"127.0.0.1:{port}", "ready"),
        (f"127.0.0.2:{port}", "away"),
    ]


@pytest.mark.parametrize(
    ("value", "hosts"),
    [
        ("", None),
        (" , ", None),
        ("localhost:1", ["localhost"]),
        ("127.0.0.1:1, localhost:1", ["127.0.0.1", "localhost"]),
    ],
)
async def test_they_are_listed_in_a_variable(
    value: str, hosts: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVICES_VARIABLE, value)
    watched = WatchedServices.from_environment()
    assert hosts == (None if watched is None else [one.service for one in await watched.services()])


def test_a_word_that_is_no_address_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SERVICES_VARIABLE, "reward:8080,hae")
    with pytest.raises(ConfigError, match="HIPER_CONTROL_SERVICES: 'hae' is not an address") as caught:
        WatchedServices.from_environment()
    assert "host:port" in caught.value.hint


async def test_their_number_is_not_for_control_and_it_says_whose_it_is(tmp_path: Path) -> None:
    with process(broker=True) as address:
        watched = WatchedServices([address])
        api = create_api(Desk(RunConfig(), tmp_path, "control"), watched, Access("127.0.0.1:0"), Health())
        with HttpServer(api, "127.0.0.1:0") as server:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}/api/v1") as client:
                (seen,) = (await client.get("/services")).json()
                refused = await client.put("/services/localhost/replicas", json={"replicas": 2})
    assert (seen["service"], seen["ready"], seen["processes"][0]["restarts"]) == ("localhost", 1, None)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_scalable")
    assert refused.json()["detail"] == "the size of localhost is fixed"
    assert "docker compose up --detach --scale" in refused.json()["hint"]
    with pytest.raises(RunStateError, match="control cannot make 2 of localhost"):
        await watched.scale("localhost", 2)
