"""The OpenEnv front, met by OpenEnv's own client and by a socket that says what no client would."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from env_harness import SMALL, Process
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hiper.config.sections import EnvSettings
from hiper.envs.base import StepResult
from hiper.envs.configured import open_configured_source
from hiper.errors import ConfigError
from hiper.rpc.listen import OPENENV_VARIABLE, TOKEN_FILE_VARIABLE
from services.env_server.host import SessionHost
from services.env_server.openenv import OpenEnvFront
from services.env_server.openenv_server import serve_openenv

generic_client = pytest.importorskip(
    "openenv.core.generic_client", reason="OpenEnv's client is not installed: scripts/setup.sh installs it"
)
WAIT_S = 30


@dataclass
class Served:
    address: str
    front: OpenEnvFront
    now_s: list[float]

    @property
    def host(self) -> SessionHost:
        return self.front.host

    def client(self, **headers: str) -> Any:
        return generic_client.GenericEnvClient(f"http://{self.address}", headers=headers)

    async def until_empty(self) -> None:
        """The server hears of a closed connection a moment after its client has closed it."""
        async with asyncio.timeout(WAIT_S):
            while self.front.connections:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        assert len(self.host.table) == 0


@asynccontextmanager
async def served(**changes: Any) -> AsyncIterator[Served]:
    settings = EnvSettings(**{**SMALL, **changes})
    now_s = [0.0]
    front = OpenEnvFront(SessionHost(open_configured_source(settings), settings, lambda: now_s[0]), settings)
    async with serve_openenv(front, "127.0.0.1:0") as address:
        assert address is not None
        yield Served(address, front, now_s)


def shown(result: StepResult) -> dict[str, Any]:
    return {
        "text": result.observation,
        "admissible": list(result.admissible),
        "has_search_bar": result.has_search_bar,
        "terminated": result.terminated,
        "truncated": result.truncated,
        "won": result.won,
        "score": result.score,
        "action_valid": result.action_valid,
    }


def agree(seen: Any, expected: StepResult, step: int, task_id: str) -> None:
    metadata = {"task_id": task_id, "step": step}
    assert seen.observation == {**shown(expected), "metadata": metadata}
    assert (seen.reward, seen.done) == (expected.reward, expected.done)


async def test_the_openenv_client_sees_what_the_engine_shows_to_the_end() -> None:
    async with served() as server:
        task_id = server.host.source.ids("train")[3]
        episode = server.host.source.open(task_id, max_steps=5)
        expected = episode.reset()
        async with server.client() as env:
            agree(await env.reset(task_id=task_id, max_steps=5, episode_id="mine"), expected, 0, task_id)
            for step in range(1, 6):
                action = "dance" if step == 2 else expected.admissible[step % len(expected.admissible)]
                expected = episode.step(action)
                agree(await env.step({"action": action}), expected, step, task_id)
                assert await env.state() == {"episode_id": "mine", "step_count": step, "task_id": task_id}
            assert expected.truncated
            with pytest.raises(RuntimeError, match="EPISODE_OVER"):
                await env.step({"action": "look"})
            again = await env.reset(task_id=task_id)
            assert (again.observation["metadata"]["step"], len(server.host.table)) == (0, 1)
        await server.until_empty()


async def test_a_shop_says_whether_it_can_be_searched() -> None:
    shop = {"name": "webshop", "webshop": {"synthetic_products": 100}}
    async with served(**shop) as server, server.client() as env:
        start = await env.reset(seed=1)
        assert start.observation["has_search_bar"] is True
        found = await env.step({"action": "search[red]"})
        assert (found.observation["has_search_bar"], found.observation["action_valid"]) == (False, True)
        assert "back to search" in found.observation["admissible"]


async def test_tasks_are_chosen_by_seed_or_in_turn() -> None:
    async with served() as server, server.client() as env:
        train, valid = server.host.source.ids("train"), server.host.source.ids("valid")

        async def task(**wanted: Any) -> str:
            return str((await env.reset(**wanted)).observation["metadata"]["task_id"])

        assert [await task() for _ in range(13)] == [*train, train[0]]
        assert [await task(seed=seed) for seed in (0, 7, 12)] == [train[0], train[7], train[0]]
        assert await task(seed=1, split="valid") == valid[1]
        with pytest.raises(RuntimeError, match="no split 'testing' here; there are: train, valid"):
            await env.reset(split="testing")


async def test_every_connection_has_its_own_session_and_a_full_server_says_so() -> None:
    async with served(max_sessions=2) as server:
        async with server.client() as one, server.client() as two:
            await one.reset()
            await two.reset()
            assert len(server.host.table) == 2
            with pytest.raises(RuntimeError, match="CAPACITY_REACHED"):
                async with server.client() as three:
                    await three.reset()
            assert (await one.step({"action": "look"})).observation["metadata"]["step"] == 1
            assert (await two.state())["step_count"] == 0
        await server.until_empty()
        async with server.client() as three:
            await three.reset()


async def test_a_session_outlives_its_lease_while_its_client_is_there() -> None:
    async with served(lease_s=10.0) as server, server.client() as env:
        await env.reset()
        for _ in range(3):
            server.now_s[0] += 9.0
            server.front.renew()
            server.host.reap()
        assert (await env.step({"action": "look"})).observation["metadata"]["step"] == 1
        server.now_s[0] += 10.0
        server.host.reap()
        with pytest.raises(RuntimeError, match="UNKNOWN_SESSION"):
            await env.step({"action": "look"})
        await env.reset()


async def test_a_client_that_vanishes_leaves_nothing_behind() -> None:
    async with served() as server, connect(f"ws://{server.address}/ws") as socket:
        assert (await say(socket, {"type": "reset"}))["type"] == "observation"
        assert len(server.host.table) == 1
        socket.transport.abort()
        await server.until_empty()


async def say(socket: ClientConnection, message: object) -> Any:
    await socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
    return json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        ("{", "INVALID_JSON", "message"),
        ("", "INVALID_JSON", "message"),
        (b"\xff", "INVALID_JSON", "message"),
        ("[" * 30_000, "INVALID_JSON", "message"),
        ([1], "VALIDATION_ERROR", "message"),
        ({}, "UNKNOWN_TYPE", "type"),
        ({"type": "mcp"}, "UNKNOWN_TYPE", "'mcp'"),
        ({"type": "step"}, "VALIDATION_ERROR", "step.data"),
        ({"type": "step", "data": {"action": 7}}, "VALIDATION_ERROR", "step.data.action"),
        ('{"type": "step", "data": {"action": "\\ud800"}}', "INVALID_JSON", "hex escape"),
        ({"type": "step", "data": {"action": "look"}}, "EXECUTION_ERROR", "NOT_RESET"),
        ({"type": "reset", "data": {"seed": -1}}, "VALIDATION_ERROR", "reset.data.seed"),
        ({"type": "reset", "data": {"task_id": "no/such/task"}}, "EXECUTION_ERROR", "UNKNOWN_TASK"),
        ({"type": "reset", "data": {"task_id": "x" * 2000}}, "EXECUTION_ERROR", "1024 characters"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isupper() else "",
)
async def test_bad_messages_cost_an_error_and_not_the_connection(message: object, code: str, says: str) -> None:
    async with served() as server, connect(f"ws://{server.address}/ws") as socket:
        reply = await say(socket, message)
        assert (reply["type"], reply["data"]["code"]) == ("error", code)
        assert says in reply["data"]["message"]
        assert len(server.host.table) == 0
        assert (await say(socket, {"type": "reset", "data": {"row": "of a data set"}}))["type"] == "observation"
        reply = await say(socket, {"type": "step", "data": {"action": "x" * 5000}})
        assert "ACTION_TOO_LONG" in reply["data"]["message"]
        assert (await say(socket, {"type": "step", "data": {"action": "look", "metadata": {}}}))[
            "type"
        ] == "observation"


async def test_a_message_beyond_every_bound_ends_its_connection_only() -> None:
    async with served() as server, server.client() as other:
        await other.reset()
        async with connect(f"ws://{server.address}/ws") as socket:
            with pytest.raises(ConnectionClosed):
                await say(socket, {"type": "step", "data": {"action": "x" * 2**20}})
        assert (await other.step({"action": "look"})).observation["metadata"]["step"] == 1


async def test_a_server_that_ends_tells_its_clients() -> None:
    async with served() as server:
        socket = await connect(f"ws://{server.address}/ws")
        await say(socket, {"type": "reset"})
    with pytest.raises(ConnectionClosed):
        await asyncio.wait_for(socket.recv(), WAIT_S)
    assert len(server.host.table) == 0


async def test_the_token_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"refusing to listen on 0\.0\.0\.0:0 without authentication"):
        async with served() as server, serve_openenv(server.front, "0.0.0.0:0"):
            pass
    token = tmp_path / "token"
    token.write_text("secret")
    monkeypatch.setenv(TOKEN_FILE_VARIABLE, str(token))
    async with served() as server, httpx.AsyncClient(base_url=f"http://{server.address}") as http:
        for headers in ({}, {"authorization": "Bearer guess"}):
            with pytest.raises(InvalidStatus, match="403"):
                await connect(f"ws://{server.address}/ws", additional_headers=headers)
            assert (await http.get("/schema", headers=headers)).status_code == 401
        assert (await http.get("/health")).json() == {"status": "healthy"}
        async with server.client(Authorization="Bearer secret") as env:
            assert (await env.reset()).observation["text"]


async def test_schema_and_metadata_describe_what_is_sent() -> None:
    async with served() as server, httpx.AsyncClient(base_url=f"http://{server.address}") as http:
        schema = (await http.get("/schema")).json()
        assert (await http.get("/metadata")).json()["name"] == "alfworld"
        async with server.client() as env:
            assert set(schema["observation"]["properties"]) == set((await env.reset()).observation)
            assert set(schema["state"]["properties"]) == set(await env.state())
        assert list(schema["action"]["properties"]) == ["action"]


async def test_the_env_server_serves_both_fronts(env_process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    port = Process(env_process.directory).port
    monkeypatch.setenv(OPENENV_VARIABLE, f"127.0.0.1:{port}")
    env_process.start()
    async with asyncio.timeout(WAIT_S):
        while f"127.0.0.1:{port}" not in env_process.log():  # noqa: ASYNC110 - its log line is the sign
            await asyncio.sleep(0.05)
    async with generic_client.GenericEnvClient(f"http://127.0.0.1:{port}") as env:
        assert (await env.reset()).observation["admissible"]
