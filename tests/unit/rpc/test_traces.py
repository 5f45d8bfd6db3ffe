"""A call made for several trajectories is a span of its server in each of their traces."""

import asyncio

import grpc.aio
from traced import recording, trace_of

from hiper import tracing
from hiper._proto.env.v1 import env_service_pb2 as pb
from hiper._proto.env.v1 import env_service_pb2_grpc as stubs
from hiper.rpc import Listen, open_channel, serve
from hiper.rpc.batcher import Batcher
from hiper.vocabulary import Stream

SERVICE = "hiper.env.v1.EnvService"
METHOD = f"{SERVICE}/CloseSessions"
LIMIT = 256


class Closing(stubs.EnvServiceServicer):
    """Closes anything."""

    async def CloseSessions(  # noqa: N802
        self, request: pb.CloseSessionsRequest, _context: object
    ) -> pb.CloseSessionsResponse:
        return pb.CloseSessionsResponse(closed=len(request.session_ids))


def add(server: grpc.aio.Server) -> None:
    stubs.add_EnvServiceServicer_to_server(Closing(), server)  # type: ignore[abstract]


async def close_all(names: list[str]) -> None:
    """Close a session for each trajectory, in batched calls made within the trajectory's own span."""
    async with serve(Listen(), {SERVICE: add}) as server, open_channel(server.address) as channel:
        stub = stubs.EnvServiceStub(channel)

        async def send(ids: object) -> list[int]:
            reply = await stub.CloseSessions(pb.CloseSessionsRequest(session_ids=ids), timeout=20)
            return [reply.closed] * reply.closed

        batcher = Batcher(send, LIMIT)

        async def close(name: str) -> None:
            with tracing.trajectory("episode", Stream.TASKS, name), tracing.span("env.close", tracing.Kind.CLIENT):
                await batcher.submit(name)

        await asyncio.gather(*map(close, names))


async def test_the_largest_call_reaches_every_trace() -> None:
    names = [f"run/train-000000/{n}/0" for n in range(LIMIT)]
    with recording() as seen:
        await close_all(names)
    served = seen.spans(METHOD)
    assert sorted(map(trace_of, served)) == sorted(map(tracing.trace_id, names))
    callers = {span.context.span_id: trace_of(span) for span in seen.spans("env.close")}
    assert all(callers[span.parent.span_id] == trace_of(span) for span in served)


async def test_a_call_for_one_trajectory_carries_the_standard_header() -> None:
    with recording() as seen:
        await close_all(["run/train-000000/0/0"])
    assert seen.only(METHOD).parent.span_id == seen.only("env.close").context.span_id


async def test_calls_that_nobody_traces_carry_nothing() -> None:
    with recording(ratio=0.0) as seen:
        await close_all([f"run/train-000000/{n}/0" for n in range(20)])
    assert seen.names() == []
