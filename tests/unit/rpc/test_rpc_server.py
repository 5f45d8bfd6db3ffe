"""Servers and channels agree on limits, ask for a token where they must, and say NOT_SERVING when they end."""

import asyncio
import socket
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from hiper._proto.env.v1 import env_service_pb2 as pb
from hiper._proto.env.v1 import env_service_pb2_grpc as stubs
from hiper.errors import ConfigError, DependencyError
from hiper.rpc import Listen, open_channel, options, serve

SERVICE = "hiper.env.v1.EnvService"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Greeter(stubs.EnvServiceServicer):
    async def GetInfo(self, _request: object, _context: object) -> pb.GetInfoResponse:  # noqa: N802
        return pb.GetInfoResponse(env="alfworld")


def add(server: grpc.aio.Server) -> None:
    stubs.add_EnvServiceServicer_to_server(Greeter(), server)  # type: ignore[abstract]


async def ask(address: str, token_file: Path | None = None) -> str:
    async with open_channel(address, token_file) as channel:
        reply = await stubs.EnvServiceStub(channel).GetInfo(pb.GetInfoRequest(), timeout=10)
        return str(reply.env)


async def test_serves_health_and_reflection_beside_the_service() -> None:
    async with serve(Listen(), {SERVICE: add}) as server, open_channel(server.address) as channel:
        assert await ask(server.address) == "alfworld"
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert answer.status == SERVING
        calls = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10
        )
        listed = {service.name async for reply in calls for service in reply.list_services_response.service}
        assert SERVICE in listed


async def watch(address: str, seen: list[int], first: asyncio.Event) -> None:
    """Follow the service's health until it says NOT_SERVING."""
    async with open_channel(address) as channel:
        calls = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=30)
        async for reply in calls:
            seen.append(reply.status)
            first.set()
            if reply.status == NOT_SERVING:
                return


async def test_watchers_see_not_serving_before_the_server_ends() -> None:
    seen: list[int] = []
    first = asyncio.Event()
    async with serve(Listen(), {SERVICE: add}) as server:
        watcher = asyncio.create_task(watch(server.address, seen, first))
        await asyncio.wait_for(first.wait(), 10)
    await asyncio.wait_for(watcher, 10)
    assert seen == [SERVING, NOT_SERVING]


class Slow(stubs.EnvServiceServicer):
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.called, self.go = asyncio.Event(), asyncio.Event()

    async def GetInfo(self, _request: object, _context: object) -> pb.GetInfoResponse:  # noqa: N802
        self.called.set()
        await self.go.wait()
        return pb.GetInfoResponse(env="slow")


async def in_flight_at_the_end(slow: Slow, grace_s: float, *, answered: bool) -> "asyncio.Task[str]":
    """Begin a call, then end the server; `answered` while it drains, or never."""

    def add_slow(server: grpc.aio.Server) -> None:
        stubs.add_EnvServiceServicer_to_server(slow, server)  # type: ignore[abstract]

    async def go_once_it_drains(address: str, watched: asyncio.Event) -> None:
        await watch(address, [], watched)
        if answered:
            slow.go.set()

    watched = asyncio.Event()
    async with serve(Listen(grace_s=grace_s), {SERVICE: add_slow}) as server:
        asked = asyncio.create_task(ask(server.address))
        going = asyncio.create_task(go_once_it_drains(server.address, watched))
        await asyncio.wait_for(asyncio.gather(slow.called.wait(), watched.wait()), 10)
    await going
    return asked


async def test_a_call_in_flight_is_answered_while_the_server_drains() -> None:
    asked = await in_flight_at_the_end(Slow(), 30.0, answered=True)
    assert await asyncio.wait_for(asked, 10) == "slow"


async def test_a_call_that_outlasts_the_grace_is_ended() -> None:
    asked = await in_flight_at_the_end(Slow(), 0.1, answered=False)
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await asyncio.wait_for(asked, 20)
    assert ended.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


async def test_a_taken_port_is_one_clear_error() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        with pytest.raises(DependencyError, match=f"cannot listen on {address}"):
            async with serve(Listen(address), {SERVICE: add}):
                pass


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1"])
def test_an_open_address_needs_a_token(address: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without authentication"):
        Listen(address)
    assert Listen(address, token_file=tmp_path / "token").address == address


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"])
def test_loopback_needs_none(address: str) -> None:
    assert Listen(address).token_file is None


async def test_the_token_is_asked_for_and_read_again_when_it_changes(tmp_path: Path) -> None:
    secret, wrong = tmp_path / "token", tmp_path / "wrong"
    secret.write_text("first\n")
    wrong.write_text("guess")
    async with serve(Listen(token_file=secret), {SERVICE: add}) as server:
        assert await ask(server.address, secret) == "alfworld"
        for token_file in (None, wrong):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ask(server.address, token_file)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        fresh = tmp_path / "fresh"
        fresh.write_text("second")
        fresh.replace(secret)
        wrong.write_text("first")
        assert await ask(server.address, secret) == "alfworld"
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(server.address, wrong)
        async with open_channel(server.address) as channel:  # a probe holds no token
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert answer.status == SERVING


@pytest.mark.parametrize("content", [None, " \n"])
async def test_a_missing_or_empty_token_file_stops_the_server(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="token file"):
        async with serve(Listen(token_file=path), {SERVICE: add}):
            pass


def test_both_ends_agree_on_keepalive_and_limits() -> None:
    client, server = dict(options.client_options()), dict(options.server_options())
    assert int(client["grpc.keepalive_time_ms"]) > int(server["grpc.http2.min_ping_interval_without_data_ms"])
    assert client["grpc.keepalive_permit_without_calls"] == server["grpc.keepalive_permit_without_calls"]
    for limit in ("grpc.max_send_message_length", "grpc.max_receive_message_length"):
        assert client[limit] == server[limit] == options.MAX_MESSAGE_BYTES
