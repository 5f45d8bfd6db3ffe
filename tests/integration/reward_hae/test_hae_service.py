"""`ComputeAdvantages` over real gRPC: the numbers of the stream and of files, refusals that name, bounds."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest
from hand_made import Made, ids, make_task, make_trajectory
from known_batches import assert_as_computed_directly, expected_rewards, make_batch
from pipeline_world import World, critic_values, eventually, start_service

from hiper._proto.hae.v1 import hae_service_pb2 as pb
from hiper._proto.hae.v1 import hae_service_pb2_grpc as stubs
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.advantages.case_schema import Case
from hiper.advantages.compute_cases import compute_case
from hiper.advantages.hae import HaeMode
from hiper.config.sections import HaeSettings
from hiper.rpc import Listen, open_channel, serve
from hiper.rpc.options import MAX_MESSAGE_BYTES
from hiper.vocabulary import Level
from services.hae import servicer as hae_servicer
from services.hae.servicer import MAX_REQUEST_BYTES, MAX_TURNS, MAX_WAITING, SERVICE, HaeServicer

PLAIN_GAE = {"estimator": {"name": "gae", "gamma": 0.9, "lam": 0.8}, "whiten": False}


@asynccontextmanager
async def service(settings: HaeSettings | None = None) -> AsyncIterator[stubs.HaeServiceStub]:
    with closing(HaeServicer(settings or HaeSettings())) as servicer:

        def add(server: grpc.aio.Server) -> None:
            stubs.add_HaeServiceServicer_to_server(servicer, server)

        async with (
            serve(Listen(grace_s=0.1), {SERVICE: add}) as server,
            open_channel(server.address) as channel,
        ):
            yield stubs.HaeServiceStub(channel)


def valued(trajectories: list[Trajectory]) -> list[Trajectory]:
    """With the rewards and values the services would give them."""
    for made in trajectories:
        for turn, reward in zip(made.turns, expected_rewards(made), strict=True):
            turn.reward = reward
            turn.values.CopyFrom(critic_values(turn.prompt_ids))
        if made.outcome.truncated:
            made.truncation_value = critic_values(made.next_prompt_ids).switch
        made.critic_version = 3
    return trajectories


async def compute(stub: stubs.HaeServiceStub, trajectories: list[Trajectory], **config: object) -> list[Trajectory]:
    request = pb.ComputeAdvantagesRequest(trajectories=trajectories, **config)
    return list((await stub.ComputeAdvantages(request, timeout=20)).trajectories)


async def test_it_gives_the_advantages_of_the_stream() -> None:
    sent = valued(make_batch("train-000000"))
    sent[2].critic_version = 4
    async with service() as stub:
        answered = await compute(stub, sent)
        again = await compute(stub, answered)
    assert_as_computed_directly(answered)
    assert again == answered, "a repeat changes nothing"
    for turn in (turn for one in answered for turn in one.turns):
        turn.ClearField("advantages")
        turn.ClearField("returns")
        turn.is_boundary = False
    assert answered == sent, "and nothing else was touched"


async def test_it_gives_the_advantages_of_hiper_hae_compute() -> None:
    sent = valued(make_batch("train-000000"))
    rows = [
        {
            "traj": made.task.trajectory_id,
            "turn": turn.index,
            "switch": turn.is_switch,
            "reward": turn.reward,
            "done": made.outcome.terminated and turn.index == len(made.turns) - 1,
            "resp_len": 9,
            **{f"{name}_span": (span.start, span.end) for name, span in spans_of(turn).items()},
            "v_low": turn.values.low,
            "v_high": turn.values.high,
            "v_term": turn.values.switch,
            "v_next": made.truncation_value if made.HasField("truncation_value") else None,
        }
        for made in sent
        for turn in made.turns
    ]
    config = {"gamma": 0.9, "lam_turn": 0.8, "lam_seg": 0.7, "norm_adv": True}
    case = Case.model_validate(
        {"name": "c", "heads": "low+high+switch", "response_width": 9, "cfg": config, "rows": rows}
    )
    from_file = compute_case(case, HaeMode.DEFAULT).turns.advantages
    asked = {"name": "hae", "gamma": 0.9, "lam_low": 0.8, "lam_seg": 0.7}
    async with service() as stub:
        turns = [turn for one in await compute(stub, sent, estimator=asked) for turn in one.turns]
    for level in Level:
        found = [getattr(turn.advantages, level) if turn.advantages.HasField(level) else np.nan for turn in turns]
        np.testing.assert_allclose(found, from_file[level], atol=1e-9)


def spans_of(turn) -> dict[str, object]:
    return {"switch": turn.switch_span, "subgoal": turn.subgoal_span, "action": turn.action_span}


async def test_a_call_may_bring_its_own_estimator_and_else_gets_the_servers() -> None:
    sent = valued([make_trajectory([Made(), Made()], won=True)])
    last = sent[0].turns[1]
    async with service() as stub, service(HaeSettings.model_validate(PLAIN_GAE)) as flat:
        asked = await compute(stub, sent, **PLAIN_GAE)
        own = await compute(flat, sent)
        other = await compute(stub, sent)
    assert asked == own != other
    assert asked[0].turns[1].advantages.low == pytest.approx(last.reward - last.values.switch)


async def refusal(stub: stubs.HaeServiceStub, trajectories: list[Trajectory], **config: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await compute(stub, trajectories, **config)
    return refused.value


def spoiled(spoil: Callable[[Trajectory], object]) -> list[Trajectory]:
    sound, poison = valued(
        [make_trajectory([Made(), Made()], task=make_task(sample), truncated=True) for sample in range(2)]
    )
    spoil(poison)
    return [sound, poison]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda made: made.turns[1].ClearField("reward"), "turn 1: it has no reward"),
        (lambda made: setattr(made.turns[1], "reward", np.nan), "turn 1: reward is nan"),
        (lambda made: setattr(made.turns[0].values, "high", np.inf), "turn 0: values.high is inf"),
        (lambda made: made.turns[0].values.ClearField("low"), "turn 0: v_low is missing"),
        (lambda made: setattr(made, "truncation_value", -np.inf), "truncation_value is -inf"),
        (lambda made: made.ClearField("truncation_value"), "next_prompt_ids and values, but no truncation_value"),
        (lambda made: made.ClearField("next_prompt_ids"), "a truncation_value, but no next_prompt_ids"),
        (lambda made: setattr(made.outcome, "terminated", True), "both terminated and truncated"),
        (lambda made: setattr(made.turns[1], "index", 5), "turn 5 at position 1"),
        (lambda made: setattr(made.turns[0].switch_span, "end", 10), "switch span [0, 10) in 9 tokens"),
        (lambda made: made.ClearField("turns"), "no turns, yet not abandoned"),
        (lambda made: setattr(made.outcome, "abandoned", "engine"), "abandoned (engine)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_contradiction_is_refused_naming_its_trajectory(spoil, message: str) -> None:
    async with service() as stub:
        error = await refusal(stub, spoiled(spoil))
        assert len(await compute(stub, spoiled(lambda made: None))) == 2, "the server goes on"
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "trajectory test/train-000000/0/1" in error.details()
    assert message in error.details()


async def test_a_trajectory_twice_or_without_a_name_is_refused() -> None:
    made = valued([make_trajectory([Made()])])
    async with service() as stub:
        assert "0/0: it is in the call twice" in (await refusal(stub, made * 2)).details()
        made[0].task.trajectory_id = ""
        assert "trajectory 0 of the call has no" in (await refusal(stub, made)).details()


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        ({"name": "magic"}, "estimator"),
        ({"name": "hae", "gamma": 2}, "gamma"),
        ({"name": "hae", "gama": 0.5}, "gama"),
        ({"name": "hae", "mode": "paper"}, "paper"),
    ],
)
async def test_an_estimator_that_does_not_exist_is_refused_in_one_line(estimator: dict, message: str) -> None:
    async with service() as stub:
        error = await refusal(stub, valued([make_trajectory([Made()])]), estimator=estimator)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert message in error.details()
    assert "\n" not in error.details()


async def test_no_trajectories_have_no_advantages() -> None:
    async with service() as stub:
        assert await compute(stub, []) == []


def many(turns: int, token_bytes: int) -> list[Trajectory]:
    """One trajectory of the shortest turns there are, with a long first response."""
    made = make_trajectory([Made(switch=True)])
    [first] = made.turns
    first.reward = 0.0
    first.values.CopyFrom(critic_values(ids(1, 2, 3)))
    made.turns.extend([made.turns[0]] * (turns - 1))
    for index, turn in enumerate(made.turns):
        turn.index = index
    first.prompt_ids = bytes(token_bytes)
    return [made]


async def test_the_largest_call_gets_its_answer_and_a_larger_one_is_refused() -> None:
    largest = many(MAX_TURNS, 0)
    padding = MAX_REQUEST_BYTES - pb.ComputeAdvantagesRequest(trajectories=largest).ByteSize() - 64
    assert padding > 0
    async with service() as stub:
        [answer] = await compute(stub, many(MAX_TURNS, padding))
        assert answer.turns[MAX_TURNS - 1].HasField("advantages")
        assert answer.ByteSize() < MAX_MESSAGE_BYTES
        for made in (many(MAX_TURNS + 1, 0), many(1, MAX_REQUEST_BYTES)):
            error = await refusal(stub, made)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "at most" in error.details()


async def test_calls_wait_for_their_turn_up_to_a_bound_and_leave_when_their_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, begun = threading.Event(), []
    original = hae_servicer.estimate

    def held(*arguments: object) -> object:
        begun.append(1)
        gate.wait(20)
        return original(*arguments)

    monkeypatch.setattr(hae_servicer, "estimate", held)
    request = pb.ComputeAdvantagesRequest(trajectories=valued([make_trajectory([Made()])]))
    async with service() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await stub.ComputeAdvantages(request, timeout=0.3)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.ComputeAdvantages(request, timeout=0.3)
        calls = [asyncio.ensure_future(stub.ComputeAdvantages(request, timeout=20)) for _ in range(MAX_WAITING + 1)]

        async def one_is_refused() -> bool:
            return any(call.done() for call in calls)

        await eventually(one_is_refused)
        gate.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [error for error in results if isinstance(error, grpc.aio.AioRpcError)]
    assert [error.code() for error in refused] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert len(begun) == 1 + MAX_WAITING, "the call that gave up while it waited was never computed"


async def test_the_process_serves_it_beside_its_worker(world: World, tmp_path: Path) -> None:
    process = start_service("hae", tmp_path, world.running.url, "127.0.0.1:1")
    try:

        async def ready() -> bool:
            return "hae service ready" in (tmp_path / "hae-0.log").read_text()

        await eventually(ready)
        lines = map(json.loads, (tmp_path / "hae-0.log").read_text().splitlines())
        [address] = [line["address"] for line in lines if line["event"] == "hae service ready"]
        async with open_channel(address) as channel:
            answered = await compute(stubs.HaeServiceStub(channel), valued(make_batch("train-000000")))
        assert_as_computed_directly(answered)
        process.terminate()
        assert await asyncio.to_thread(process.wait, 20) == 0
    finally:
        process.kill()
        process.wait(timeout=10)
