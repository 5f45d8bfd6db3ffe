"""`CriticService`: values for the HAE service, read from the live critic."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import grpc.aio

from hiper._proto.common.v1.types_pb2 import LevelValues
from hiper._proto.critic.v1 import critic_service_pb2 as pb
from hiper._proto.critic.v1 import critic_service_pb2_grpc as stubs
from hiper.errors import IntegrityError, RunStateError
from hiper.metrics import counter
from hiper.rpc import Listen, serve
from hiper.service import ServiceContext
from services.learner.packing import TokenRow
from services.learner.rows import token_row
from services.learner.trainer import Trainer

__all__ = ["MAX_QUERIES", "SERVICE", "CriticServicer", "serving_values"]

SERVICE = "hiper.critic.v1.CriticService"
MAX_QUERIES = 512
"""Turns of one call."""


@asynccontextmanager
async def serving_values(context: ServiceContext, trainer: Trainer) -> AsyncIterator[None]:
    """Answer the HAE service, if the run keeps a critic."""
    if trainer.critic is None:
        yield
        return
    servicer = CriticServicer(trainer)

    def add(server: grpc.aio.Server) -> None:
        stubs.add_CriticServiceServicer_to_server(servicer, server)

    listen = Listen.from_environment(f"127.0.0.1:{context.config.learner.critic_port}")
    async with serve(listen, {SERVICE: add}) as server:
        context.health.set("critic", True, server.address)
        try:
            yield
        finally:
            servicer.close()


class CriticServicer(stubs.CriticServiceServicer):
    """Answers from one version of the critic per call. While the critic is being updated, calls wait."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        # One thread: calls wait for the critic in order, and one whose caller gave up leaves the queue unread.
        self._thread = ThreadPoolExecutor(1, "critic")

    def close(self) -> None:
        """Drop the calls that wait."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def ComputeValues(  # noqa: N802 - gRPC names it
        self, request: pb.ComputeValuesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ComputeValuesResponse:
        """Read the values of up to MAX_QUERIES turns."""
        try:
            rows = self._rows(request.queries)
        except IntegrityError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
            raise  # not reached: `abort` raises
        loop = asyncio.get_running_loop()
        try:
            values, version = await loop.run_in_executor(self._thread, self._trainer.values, rows)
        except RunStateError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, error.message)
            raise  # not reached
        counter("critic_queries_total").inc(len(rows))
        return pb.ComputeValuesResponse(
            values=[LevelValues(low=low, high=high, switch=switch) for low, high, switch in values.tolist()],
            critic_version=version,
        )

    def _rows(self, queries: Sequence[pb.ValueQuery]) -> list[TokenRow]:
        """Read the queries. Raises `IntegrityError` naming the first one that cannot be."""
        if len(queries) > MAX_QUERIES:
            raise IntegrityError(f"{len(queries)} queries in one call; at most {MAX_QUERIES} are accepted")
        rows = []
        for index, query in enumerate(queries):
            try:
                rows.append(
                    token_row(query.prompt_ids, query.response_ids, query.value_low_position, self._trainer.vocabulary)
                )
            except IntegrityError as error:
                raise IntegrityError(f"query {index}: {error.message}") from error
        return rows
