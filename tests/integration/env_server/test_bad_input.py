"""Bad input over real gRPC: the documented status and a message that helps, and nothing of it stays behind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from env_harness import SMALL, InProcess, in_process, raw_stub

from hiper._proto.env.v1 import env_service_pb2 as pb
from hiper.config.sections import EnvSettings
from hiper.envs.alfworld.generator import generate_json, read_spec
from hiper.envs.registry import open_source
from hiper.rpc.options import MAX_MESSAGE_BYTES
from services.env_server.refusals import CODES

GAMES = [f"valid_seen/pick_and_place_simple-Apple-None-Fridge-{n}/trial_T{n}" for n in range(4)]
GOOD, NOT_UTF8, NOT_JSON, NO_GAME = GAMES
MEBIBYTE = "x" * 2**20


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One good game file and three broken ones."""
    game = generate_json(read_spec("synth-alfworld/demo/pick_and_place_simple/1")).encode()
    contents = {GOOD: game, NOT_UTF8: game.replace(b"task", b"t\xff\xfek", 1), NOT_JSON: game[:-40], NO_GAME: b"[1, 2]"}
    for task_id, content in contents.items():
        folder = tmp_path / "json_2.1.1" / task_id
        folder.mkdir(parents=True)
        (folder / "game.tw-pddl").write_bytes(content)
    return tmp_path


@asynccontextmanager
async def files_served(tree: Path, **changes: Any) -> AsyncIterator[tuple[InProcess, Any]]:
    settings = EnvSettings(**{**SMALL, **changes})
    async with in_process(settings, source=open_source("alfworld", tree)) as server, raw_stub(server.address) as stub:
        yield server, stub


async def create(stub: Any, **spec: Any) -> Any:
    request = pb.CreateSessionsRequest(sessions=[pb.SessionSpec(**{"session_id": "s", "max_steps": 2, **spec})])
    return (await stub.CreateSessions(request, timeout=30)).results[0]


async def step(stub: Any, index: int, action: str, session_id: str = "s") -> Any:
    item = pb.StepItem(session_id=session_id, step_index=index, action=action)
    return (await stub.BatchStep(pb.BatchStepRequest(items=[item]), timeout=30)).results[0]


def check(status: Any, reason: str, says: str) -> None:
    assert status.reason == reason
    assert status.code == CODES[status.reason].value[0] != 0
    assert says in status.message
    assert len(status.message) < 2000


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        ({"task_id": "no/such/task"}, "UNKNOWN_TASK", "no/such/task"),
        ({"task_id": "valid_seen/no/such"}, "UNKNOWN_TASK", "no game"),
        ({"task_id": ""}, "UNKNOWN_TASK", "not an ALFWorld task"),
        ({"task_id": "valid_seen/../.."}, "UNKNOWN_TASK", "no game"),
        ({"task_id": MEBIBYTE}, "UNKNOWN_TASK", "1024 characters"),
        ({"task_id": NOT_UTF8}, "TASK_CORRUPT", "utf-8"),
        ({"task_id": NOT_JSON}, "TASK_CORRUPT", NOT_JSON),
        ({"task_id": f"json_2.1.1/{NOT_JSON}/game.tw-pddl"}, "TASK_CORRUPT", NOT_JSON),
        ({"task_id": NO_GAME}, "TASK_CORRUPT", NO_GAME),
        ({"task_id": GOOD, "sha256": "0" * 64}, "TASK_DIFFERS", "0000000000000000 was asked for"),
        ({"task_id": GOOD, "session_id": ""}, "BAD_SESSION_ID", "1 to 256"),
        ({"task_id": GOOD, "session_id": MEBIBYTE}, "BAD_SESSION_ID", "1 to 256"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)
async def test_a_session_that_cannot_be_made(tree: Path, spec: dict[str, Any], reason: str, says: str) -> None:
    async with files_served(tree) as (server, stub):
        for _ in range(2):  # the second time is no different: nothing half-made was kept
            check((await create(stub, **spec)).status, reason, says)
        assert len(server.table) == 0
        assert (await create(stub, task_id=GOOD)).status.code == 0


async def test_the_hash_that_is_asked_for_is_the_one_that_is_listed(tree: Path) -> None:
    async with files_served(tree) as (server, stub):
        listed = (await stub.ListTasks(pb.ListTasksRequest(task_ids=[GOOD]), timeout=30)).tasks[0]
        created = await create(stub, task_id=GOOD, sha256=listed.sha256)
        assert (created.status.code, created.sha256) == (0, listed.sha256)
        check((await create(stub, task_id=GOOD, sha256="f" * 64)).status, "TASK_DIFFERS", GOOD)
        assert len(server.table) == 1


async def test_steps_that_cannot_be_played_change_nothing(tree: Path) -> None:
    async with files_served(tree) as (server, stub):
        check((await step(stub, 1, "look", "nobody")).status, "UNKNOWN_SESSION", "'nobody'")
        check((await step(stub, 1, "look", MEBIBYTE)).status, "UNKNOWN_SESSION", "no session")
        await create(stub, task_id=GOOD)
        check((await step(stub, 1, "look")).status, "NOT_RESET", "reset")
        await stub.BatchReset(pb.BatchResetRequest(session_ids=["s"]), timeout=30)
        check((await step(stub, 1, MEBIBYTE)).status, "ACTION_TOO_LONG", "4096")
        check((await step(stub, 2, "look")).status, "STEP_INDEX", "the last answer was 0")
        first = await step(stub, 1, "inventory")
        assert first.status.code == 0
        check((await step(stub, 1, "look")).status, "ACTION_DIFFERS", "step 1")
        check((await step(stub, 3, "look")).status, "STEP_INDEX", "the last answer was 1")
        assert await step(stub, 1, "inventory") == first
        assert (await step(stub, 2, "look")).truncated
        check((await step(stub, 3, "look")).status, "EPISODE_OVER", "ended with step 2")
        assert (await step(stub, 2, "look")).truncated
        assert len(server.table) == 1


async def test_tasks_with_broken_files_are_listed_by_hash_and_named_when_looked_into(tree: Path) -> None:
    async with files_served(tree) as (_, stub):
        listed = (await stub.ListTasks(pb.ListTasksRequest(split="valid_seen"), timeout=30)).tasks
        assert [task.task_id for task in listed] == sorted(GAMES)
        with pytest.raises(grpc.aio.AioRpcError, match=NOT_JSON) as refused:
            await stub.ListTasks(pb.ListTasksRequest(task_ids=[NOT_JSON], full=True), timeout=30)
        assert refused.value.code() is grpc.StatusCode.DATA_LOSS


async def test_calls_too_large_are_refused_whole(tree: Path) -> None:
    async with files_served(tree, max_items=4) as (server, stub):
        calls = (
            stub.CreateSessions(pb.CreateSessionsRequest(sessions=[pb.SessionSpec()] * 5), timeout=30),
            stub.BatchReset(pb.BatchResetRequest(session_ids=["s"] * 5), timeout=30),
            stub.BatchStep(pb.BatchStepRequest(items=[pb.StepItem()] * 5), timeout=30),
            stub.CloseSessions(pb.CloseSessionsRequest(session_ids=["s"] * 5), timeout=30),
        )
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError, match="TOO_MANY_ITEMS: 5 items; one call takes at most 4") as late:
                await call
            assert late.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await step(stub, 1, "x" * (MAX_MESSAGE_BYTES + 1))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len(server.table) == 0


async def test_an_item_whose_turn_comes_after_the_deadline_says_so_and_is_not_played(tree: Path) -> None:
    """The server's clock is the judge: the client that set the deadline is not there any more to be told."""
    async with files_served(tree) as (server, stub):
        await create(stub, task_id=GOOD)
        await stub.BatchReset(pb.BatchResetRequest(session_ids=["s"]), timeout=30)
        item = pb.StepItem(session_id="s", step_index=1, action="look")
        reply = await server.servicer.BatchStep(pb.BatchStepRequest(items=[item]), _Late())
        check(reply.results[0].status, "CALL_DEADLINE", "deadline")
        assert (await step(stub, 1, "inventory")).status.code == 0


class _Late:
    """The context of a call whose time is up."""

    def time_remaining(self) -> float:
        return 0.0
