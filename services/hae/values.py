"""Asks the learner's critic for values.

All values of a batch come from one version of the critic: if it moves on between two calls, the batch is read again.
Calls are small enough for the message limit, each has a deadline, and the whole reading a budget that is long enough
for a restart of the learner.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import grpc.aio

from hiper import logs
from hiper._proto.common.v1.types_pb2 import LevelValues
from hiper._proto.critic.v1 import critic_service_pb2 as pb
from hiper._proto.critic.v1 import critic_service_pb2_grpc as stubs
from hiper.config.sections import HaeSettings
from hiper.errors import ConfigError, RemoteError
from hiper.metrics import gauge
from hiper.rpc.channel import TRANSIENT, explain, open_channel
from hiper.rpc.patience import TryAgain, persist

__all__ = [
    "MAX_CALL_BYTES",
    "MAX_CALL_QUERIES",
    "CriticClient",
    "CriticReading",
    "NoCritic",
    "ValueSource",
    "chunks",
    "value_source",
]

MAX_CALL_QUERIES = 512
MAX_CALL_BYTES = 12 * 1024 * 1024
"""Below the 16 MiB limit of a message by more than any framing."""


@dataclass(frozen=True, slots=True)
class CriticReading:
    """Values in the order of the queries, all of one version."""

    values: Sequence[LevelValues]
    version: int


class ValueSource(Protocol):
    """Where values come from. An async context manager."""

    async def __aenter__(self) -> Self:
        """Open it."""

    async def __aexit__(self, *_: object) -> None:
        """Close it."""

    async def read(self, queries: Sequence[pb.ValueQuery]) -> CriticReading:
        """Return the values of `queries`."""


class NoCritic:
    """For estimators that need no values: every reading is empty, and nobody is asked."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read(self, queries: Sequence[pb.ValueQuery]) -> CriticReading:
        """Return as many readings without a value as there are queries; version 0."""
        return CriticReading([LevelValues()] * len(queries), 0)


def value_source(settings: HaeSettings) -> ValueSource:
    """Return what the estimator of `settings` needs. Raises `ConfigError` for a critic without an address."""
    return CriticClient(settings) if settings.estimator.needs_critic else NoCritic()


class CriticClient:
    """The critic at `hae.critic_address`. An async context manager."""

    def __init__(self, settings: HaeSettings) -> None:
        if not settings.critic_address:
            raise ConfigError("hae.critic_address is not set", "set HIPER_HAE__CRITIC_ADDRESS=host:port of the learner")
        self._address = settings.critic_address
        self._timeout_s = settings.critic_timeout_s
        self._budget_s = settings.critic_unavailable_timeout_s
        self._channel = open_channel(self._address)
        self._stub = stubs.CriticServiceStub(self._channel)
        self._log = logs.get(peer=self._address)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def read(self, queries: Sequence[pb.ValueQuery]) -> CriticReading:
        """Return the values of `queries`.

        Raises `RemoteError` if the critic refuses them, or does not answer within `critic_unavailable_timeout_s`.
        """

        def give_up(last: str) -> RemoteError:
            return RemoteError(
                f"critic {self._address}: values of {len(queries)} turns not read within {self._budget_s:g} s "
                f"(hae.critic_unavailable_timeout_s); last answer: {last}",
                "check that the learner runs",
            )

        return await persist(lambda: self._read_once(queries), self._budget_s, give_up)

    async def _read_once(self, queries: Sequence[pb.ValueQuery]) -> CriticReading:
        values: list[LevelValues] = []
        version: int | None = None
        for chunk in chunks(queries):
            reply = await self._call(chunk)
            if version not in (None, reply.critic_version):
                raise TryAgain(f"the critic went from version {version} to {reply.critic_version} meanwhile", 0.0)
            version = reply.critic_version
            values += reply.values
        return CriticReading(values, version or 0)

    async def _call(self, queries: Sequence[pb.ValueQuery]) -> pb.ComputeValuesResponse:
        try:
            request = pb.ComputeValuesRequest(queries=queries)
            reply: pb.ComputeValuesResponse = await self._stub.ComputeValues(request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            gauge("up_dependencies").labels(dependency="critic").set(0)
            text = f"ComputeValues of {len(queries)} turns within {self._timeout_s:g} s: {explain(error)}"
            if error.code() in TRANSIENT:
                self._log.warning("critic away, trying again", error=text)
                raise TryAgain(text) from error
            raise RemoteError(f"critic {self._address}: {text}", "see the learner's log") from error
        gauge("up_dependencies").labels(dependency="critic").set(1)
        if len(reply.values) != len(queries):
            raise RemoteError(
                f"critic {self._address} gave {len(reply.values)} values for {len(queries)} turns",
                "run the same version of every service",
            )
        return reply


def chunks(queries: Sequence[pb.ValueQuery]) -> Iterator[Sequence[pb.ValueQuery]]:
    """Cut `queries` into calls, in order, each within both limits (a single query always makes a call)."""
    start, size = 0, 0
    for end, query in enumerate(queries):
        weight = query.ByteSize()
        if end > start and (end - start == MAX_CALL_QUERIES or size + weight > MAX_CALL_BYTES):
            yield queries[start:end]
            start, size = end, 0
        size += weight
    if start < len(queries):
        yield queries[start:]
