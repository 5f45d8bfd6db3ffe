"""Values over real gRPC, as the HAE service asks for them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import numpy as np
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from learner_world import VOCABULARY, run_tree, write_model

from hiper._proto.critic.v1 import critic_service_pb2 as pb
from hiper._proto.critic.v1 import critic_service_pb2_grpc as stubs
from hiper.config import parse_config
from hiper.rpc import Listen, open_channel, serve
from services.learner.build import build_trainer
from services.learner.critic_service import MAX_QUERIES, SERVICE, CriticServicer
from services.learner.trainer import Trainer


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[Trainer]:
    write_model(tmp_path / "model")
    made = build_trainer(parse_config(run_tree(tmp_path / "model"), source="test", environment={}))
    torch.nn.init.normal_(made.critic.head.weight)
    yield made
    torch.use_deterministic_algorithms(False)


@asynccontextmanager
async def calling(trainer: Trainer) -> AsyncIterator[grpc.aio.Channel]:
    servicer = CriticServicer(trainer)

    def add(server: grpc.aio.Server) -> None:
        stubs.add_CriticServiceServicer_to_server(servicer, server)

    async with serve(Listen(grace_s=0.1), {SERVICE: add}) as server, open_channel(server.address) as channel:
        yield channel
    servicer.close()


def query(random: np.random.Generator, response: int = 9) -> pb.ValueQuery:
    prompt = random.integers(0, VOCABULARY, random.integers(1, 12)).astype("<i4")
    tokens = random.integers(0, VOCABULARY, response).astype("<i4")
    position = int(random.integers(0, response)) if response else 0
    return pb.ValueQuery(prompt_ids=prompt.tobytes(), response_ids=tokens.tobytes(), value_low_position=position)


async def ask(channel: grpc.aio.Channel, queries: list[pb.ValueQuery]) -> pb.ComputeValuesResponse:
    request = pb.ComputeValuesRequest(queries=queries)
    return await stubs.CriticServiceStub(channel).ComputeValues(request, timeout=30)


async def test_values_of_turns_and_bare_prompts(trainer: Trainer) -> None:
    random = np.random.default_rng(0)
    queries = [query(random) for _ in range(40)] + [query(random, response=0) for _ in range(5)]
    trainer.critic_version = 7
    async with calling(trainer) as channel:
        reply = await ask(channel, queries)
    assert reply.critic_version == 7
    for asked, got in zip(queries, reply.values, strict=True):
        ids = np.frombuffer(asked.prompt_ids + asked.response_ids, dtype="<i4").astype(np.int64)
        end = len(asked.prompt_ids) // 4 - 1
        with torch.no_grad():
            hidden = trainer.critic.backbone(input_ids=torch.from_numpy(ids)[None]).last_hidden_state[0]
            low, high, switch = trainer.critic.head(hidden).T
        expected = [low[end + asked.value_low_position], high[end], switch[end]]
        np.testing.assert_allclose([got.low, got.high, got.switch], [x.item() for x in expected], atol=1e-5)


@pytest.mark.parametrize(
    ("queries", "reason"),
    [
        ([pb.ValueQuery(prompt_ids=bytes(4))] * (MAX_QUERIES + 1), "513 queries in one call; at most 512"),
        ([pb.ValueQuery()], "query 0"),
        ([pb.ValueQuery(prompt_ids=bytes(3))], "query 0"),
        ([pb.ValueQuery(prompt_ids=bytes(4)), pb.ValueQuery(prompt_ids=b"\xff\xff\xff\x7f")], "query 1: token ids"),
        ([pb.ValueQuery(prompt_ids=bytes(4), response_ids=bytes(4), value_low_position=1)], "value position 1"),
    ],
    ids=["too-many", "no-prompt", "broken-ids", "unknown-token", "position"],
)
async def test_bad_queries_are_refused_with_a_reason(
    trainer: Trainer, queries: list[pb.ValueQuery], reason: str
) -> None:
    async with calling(trainer) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match=reason) as caught:
            await ask(channel, queries)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert len((await ask(channel, [pb.ValueQuery(prompt_ids=bytes(4))])).values) == 1, "it goes on serving"


async def test_largest_call_fits_and_nothing_is_nothing(trainer: Trainer) -> None:
    random = np.random.default_rng(0)
    async with calling(trainer) as channel:
        assert len((await ask(channel, [query(random) for _ in range(MAX_QUERIES)])).values) == MAX_QUERIES
        assert len((await ask(channel, [])).values) == 0
        health = health_pb2_grpc.HealthStub(channel)
        reply = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=5)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_stopping_learner_sends_callers_to_its_successor(trainer: Trainer) -> None:
    trainer.interrupt()
    async with calling(trainer) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(channel, [pb.ValueQuery(prompt_ids=bytes(4))])
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
