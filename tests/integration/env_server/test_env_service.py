"""The env service over real gRPC: batches, statuses, limits."""

from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest
from env_harness import SMALL, in_process, raw_stub

from hiper._proto.env.v1 import env_service_pb2 as pb
from hiper.config.sections import EnvSettings
from hiper.envs.base import Episode, StepResult, TaskInfo
from hiper.envs.configured import open_configured_source
from hiper.metrics import render

SETTINGS = EnvSettings(**SMALL)


def spec(number: int, task_id: str) -> pb.SessionSpec:
    return pb.SessionSpec(session_id=f"s{number}", task_id=task_id, max_steps=50)


def item(number: int, index: int, action: str) -> pb.StepItem:
    return pb.StepItem(session_id=f"s{number}", step_index=index, action=action)


async def opened(stub: Any, task_ids: list[str]) -> list[pb.StepResult]:
    request = pb.CreateSessionsRequest(sessions=[spec(n, task_id) for n, task_id in enumerate(task_ids)])
    created = await stub.CreateSessions(request, timeout=30)
    assert [result.status.code for result in created.results] == [0] * len(task_ids)
    reset = await stub.BatchReset(pb.BatchResetRequest(session_ids=[f"s{n}" for n in range(len(task_ids))]), timeout=30)
    return list(reset.results)


async def test_a_batch_of_64_is_answered_in_order_like_the_engine_itself() -> None:
    async with in_process(SETTINGS) as server, raw_stub(server.address) as stub:
        ids = [server.source.ids("train")[n % 12] for n in range(64)]
        first = await opened(stub, ids)
        episodes = [server.source.open(task_id) for task_id in ids]
        expected = [episode.reset() for episode in episodes]
        assert [result.observation for result in first] == [shown.observation for shown in expected]
        assert len({result.observation for result in first}) > 1
        for turn in (1, 2, 3):
            actions = [shown.admissible[n % len(shown.admissible)] for n, shown in enumerate(expected)]
            items = [item(n, turn, action) for n, action in enumerate(actions)]
            reply = await stub.BatchStep(pb.BatchStepRequest(items=items), timeout=10)
            expected = [episode.step(action) for episode, action in zip(episodes, actions, strict=True)]
            assert [result.session_id for result in reply.results] == [f"s{n}" for n in range(64)]
            assert [tuple(result.admissible) for result in reply.results] == [shown.admissible for shown in expected]
            assert [result.observation for result in reply.results] == [shown.observation for shown in expected]


async def test_a_repeated_step_is_answered_again_and_acts_once() -> None:
    async with in_process(SETTINGS) as server, raw_stub(server.address) as stub:
        shown = (await opened(stub, server.source.ids("train")[:1]))[0]
        request = pb.BatchStepRequest(items=[item(0, 1, shown.admissible[1])])
        once = await stub.BatchStep(request, timeout=10)
        again = await stub.BatchStep(request, timeout=10)
        assert again == once
        following = await stub.BatchStep(pb.BatchStepRequest(items=[item(0, 2, "look")]), timeout=10)
        assert following.results[0].step_index == 2


@pytest.mark.parametrize(
    ("bad", "reason", "code"),
    [
        (pb.StepItem(session_id="nobody", step_index=1, action="look"), "UNKNOWN_SESSION", grpc.StatusCode.NOT_FOUND),
        (item(1, 3, "look"), "STEP_INDEX", grpc.StatusCode.FAILED_PRECONDITION),
        (item(1, 1, "x" * 4097), "ACTION_TOO_LONG", grpc.StatusCode.INVALID_ARGUMENT),
        (item(0, 1, "look"), "REPEATED_SESSION", grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_one_bad_item_leaves_the_others_alone(bad: pb.StepItem, reason: str, code: grpc.StatusCode) -> None:
    async with in_process(SETTINGS) as server, raw_stub(server.address) as stub:
        await opened(stub, server.source.ids("train")[:3])
        items = [item(0, 1, "look"), bad, item(2, 1, "look")]
        results = (await stub.BatchStep(pb.BatchStepRequest(items=items), timeout=10)).results
        assert [result.status.code for result in results] == [0, code.value[0], 0]
        assert results[1].status.reason == reason
        assert results[1].status.message


async def test_a_step_after_the_end_is_refused() -> None:
    async with in_process(SETTINGS) as server, raw_stub(server.address) as stub:
        short = pb.SessionSpec(session_id="s0", task_id=server.source.ids("train")[0], max_steps=1)
        await stub.CreateSessions(pb.CreateSessionsRequest(sessions=[short]), timeout=30)
        await stub.BatchReset(pb.BatchResetRequest(session_ids=["s0"]), timeout=30)
        end = (await stub.BatchStep(pb.BatchStepRequest(items=[item(0, 1, "look")]), timeout=10)).results[0]
        assert (end.terminated, end.truncated) == (False, True)
        over = (await stub.BatchStep(pb.BatchStepRequest(items=[item(0, 2, "look")]), timeout=10)).results[0]
        assert over.status.reason == "EPISODE_OVER"


async def test_tasks_are_listed_with_the_hashes_a_panel_compares() -> None:
    async with in_process(SETTINGS) as server, raw_stub(server.address) as stub:
        listed = (await stub.ListTasks(pb.ListTasksRequest(split="valid"), timeout=30)).tasks
        described = [server.source.describe(task_id) for task_id in server.source.ids("valid")]
        assert [(task.task_id, task.task_type, task.split, task.sha256) for task in listed] == [
            (info.task_id, info.task_type, info.split, info.sha256) for info in described
        ]
        assert not any(task.content_sha256 for task in listed)
        info = await stub.GetInfo(pb.GetInfoRequest(), timeout=10)
        assert dict(info.fingerprint) == server.source.fingerprint()


async def test_tasks_can_be_listed_by_id_and_unknown_ones_are_left_out() -> None:
    async with in_process(SETTINGS) as server, raw_stub(server.address) as stub:
        outside = "synth-alfworld/demo/pick_and_place_simple/777777"
        wanted = [server.source.ids("valid")[1], "no/such/task", outside, server.source.ids("train")[0]]
        reply = await stub.ListTasks(pb.ListTasksRequest(task_ids=wanted, full=True), timeout=30)
        assert [task.task_id for task in reply.tasks] == [wanted[0], wanted[2], wanted[3]]
        assert all(task.sha256 and task.content_sha256 for task in reply.tasks)
        assert reply.next_page_token == ""
        with pytest.raises(grpc.aio.AioRpcError, match="PAGE_TOO_LARGE"):
            await stub.ListTasks(pb.ListTasksRequest(task_ids=["x"] * 5001), timeout=30)


async def test_unknown_tasks_are_refused_by_name() -> None:
    async with in_process(SETTINGS) as server, raw_stub(server.address) as stub:
        request = pb.CreateSessionsRequest(sessions=[spec(0, "no/such/task"), spec(1, server.source.ids("valid")[0])])
        results = (await stub.CreateSessions(request, timeout=30)).results
        assert [result.status.reason for result in results] == ["UNKNOWN_TASK", ""]
        assert results[1].split == "valid"
        assert results[1].task_type in results[1].session_id + server.source.ids("valid")[0]


async def test_a_batch_too_large_is_refused_as_a_whole() -> None:
    async with in_process(EnvSettings(**SMALL, max_items=4)) as server, raw_stub(server.address) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match="TOO_MANY_ITEMS") as refused:
            await stub.BatchStep(pb.BatchStepRequest(items=[item(n, 1, "look") for n in range(5)]), timeout=10)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_full_server_says_when_to_come_back() -> None:
    async with in_process(EnvSettings(**SMALL, max_sessions=2)) as server, raw_stub(server.address) as stub:
        ids = server.source.ids("train")[:3]
        request = pb.CreateSessionsRequest(sessions=[spec(n, task_id) for n, task_id in enumerate(ids)])
        results = (await stub.CreateSessions(request, timeout=30)).results
        assert [result.status.reason for result in results] == ["", "", "SESSIONS_FULL"]
        assert 0 < results[2].status.retry_after_seconds <= 1


async def test_a_session_nobody_touches_is_freed() -> None:
    class Clock:
        now_s = 0.0

        def __call__(self) -> float:
            return self.now_s

    clock = Clock()
    settings = EnvSettings(**SMALL, lease_s=5.0, max_sessions=1)
    async with in_process(settings, clock=clock) as server, raw_stub(server.address) as stub:
        ids = server.source.ids("train")
        await opened(stub, ids[:1])
        clock.now_s = 5.0
        taken = await stub.CreateSessions(pb.CreateSessionsRequest(sessions=[spec(1, ids[1])]), timeout=30)
        assert taken.results[0].status.code == 0
        lost = await stub.BatchStep(pb.BatchStepRequest(items=[item(0, 1, "look")]), timeout=10)
        assert lost.results[0].status.reason == "UNKNOWN_SESSION"
        assert 'hiper_env_sessions_reaped_total{env="alfworld"}' in render().decode()


async def test_tasks_are_listed_sorted_and_in_pages() -> None:
    async with in_process(SETTINGS) as server, raw_stub(server.address) as stub:
        listed, token, pages = [], "", 0
        while pages == 0 or token:
            page = await stub.ListTasks(pb.ListTasksRequest(split="train", page_size=5, page_token=token), timeout=10)
            listed += [task.task_id for task in page.tasks]
            token, pages = page.next_page_token, pages + 1
        assert (listed, pages) == (server.source.ids("train"), 3)
        for request, reason in (
            (pb.ListTasksRequest(split="nowhere"), "UNKNOWN_SPLIT"),
            (pb.ListTasksRequest(split="train", page_size=5001), "PAGE_TOO_LARGE"),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match=reason):
                await stub.ListTasks(request, timeout=10)


async def test_an_engine_that_raises_fails_its_own_item_only() -> None:
    async with (
        in_process(SETTINGS, source=Fragile(SETTINGS)) as server,
        raw_stub(server.address) as stub,
    ):
        await opened(stub, server.source.ids("train")[:3])
        items = [item(0, 1, "look"), item(1, 1, "explode"), item(2, 1, "look")]
        results = (await stub.BatchStep(pb.BatchStepRequest(items=items), timeout=10)).results
        assert [result.status.reason for result in results] == ["", "ENGINE_FAULT", ""]
        assert len(server.table) == 2


class Fragile:
    """Real games whose engine breaks at the word `explode`."""

    def __init__(self, settings: EnvSettings) -> None:
        self._source = open_configured_source(settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def open(self, task_id: str, *, seed: int = 0, max_steps: int = 50) -> Episode:
        return FragileEpisode(self._source.open(task_id, seed=seed, max_steps=max_steps))

    def describe(self, task_id: str) -> TaskInfo:
        return self._source.describe(task_id)


@dataclass
class FragileEpisode:
    inner: Episode

    @property
    def steps(self) -> int:
        return self.inner.steps

    def reset(self) -> StepResult:
        return self.inner.reset()

    def step(self, action: str) -> StepResult:
        if action == "explode":
            raise ZeroDivisionError("boom")
        return self.inner.step(action)
