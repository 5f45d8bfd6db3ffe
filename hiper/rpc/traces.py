"""Traces across gRPC: the metadata `traceparent`, or `hiper-traceparents` for a call made for several traces.

A batched call serves several trajectories. It carries the context of each that is traced, and its server makes a span
in each of their traces (docs/adr/0011-a-batched-call-is-a-span-in-every-trace.md). They have a name of their own,
since gRPC delivers only the last of several `traceparent`. Both interceptors are installed only where the process
traces.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from hiper import tracing

__all__ = ["TraceClient", "TraceServer"]

_SEVERAL = "hiper-traceparents"


class TraceClient(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]  # grpc has no types
    """Says with every call which traces it is made for."""

    async def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Awaitable[Any]], client_call_details: Any, request: Any
    ) -> Any:
        """Send `request` with the traces it is made for."""
        callers = tracing.callers()
        if not callers:
            return await continuation(client_call_details, request)
        metadata = grpc.aio.Metadata(*(client_call_details.metadata or ()))
        for traceparent in callers:
            metadata.add(tracing.TRACEPARENT if len(callers) == 1 else _SEVERAL, traceparent)
        return await continuation(client_call_details._replace(metadata=metadata), request)


class TraceServer(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Makes a span in each of the traces a call is made for."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Answer the call within its spans."""
        handler = await continuation(handler_call_details)
        metadata = handler_call_details.invocation_metadata
        callers = [value for name, value in metadata if name in (tracing.TRACEPARENT, _SEVERAL)]
        if not callers or handler is None or handler.unary_unary is None:
            return handler

        async def answer(request: Any, context: grpc.aio.ServicerContext) -> Any:
            with tracing.served(handler_call_details.method, callers):
                return await handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(answer, handler.request_deserializer, handler.response_serializer)
