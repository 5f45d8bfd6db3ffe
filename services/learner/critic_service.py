"""`CriticService`: values for the HAE service, read from the live critic."""

import asyncio

import grpc.aio
import numpy as np

from hiper._proto.common.v1.types_pb2 import LevelValues
from hiper._proto.critic.v1 import critic_service_pb2 as pb
from hiper._proto.critic.v1 import critic_service_pb2_grpc as stubs
from hiper.metrics import counter
from services.learner.model import TokenRow
from services.learner.trainer import Trainer

__all__ = ["MAX_QUERIES", "SERVICE", "CriticServicer"]

SERVICE = "hiper.critic.v1.CriticService"
MAX_QUERIES = 512
"""Turns of one call."""


class CriticServicer(stubs.CriticServiceServicer):
    """Answers from one version of the critic per call. While the critic is being updated, calls wait."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    async def ComputeValues(  # noqa: N802 - gRPC names it
        self, request: pb.ComputeValuesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ComputeValuesResponse:
        """Read the values of up to MAX_QUERIES turns."""
        if len(request.queries) > MAX_QUERIES:
            detail = f"{len(request.queries)} queries in one call; at most {MAX_QUERIES} are accepted"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, detail)
        rows = []
        for index, query in enumerate(request.queries):
            row = _row(query)
            if row is None:
                detail = f"query {index} has no prompt, broken token ids or a value position outside its response"
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, detail)
            else:
                rows.append(row)
        if not rows:
            return pb.ComputeValuesResponse(critic_version=self._trainer.critic_version)
        values, version = await asyncio.to_thread(self._trainer.values, rows)
        counter("critic_queries_total").inc(len(rows))
        return pb.ComputeValuesResponse(
            values=[LevelValues(low=low, high=high, switch=switch) for low, high, switch in values.tolist()],
            critic_version=version,
        )


def _row(query: pb.ValueQuery) -> TokenRow | None:
    """Read a query; None if it contradicts itself."""
    if not query.prompt_ids or len(query.prompt_ids) % 4 or len(query.response_ids) % 4:
        return None
    prompt = np.frombuffer(query.prompt_ids, dtype="<i4")
    response = np.frombuffer(query.response_ids, dtype="<i4")
    position = query.value_low_position if len(response) else 0
    return TokenRow(prompt, response, position) if position < max(1, len(response)) else None
