"""Ten thousand live sessions: what they cost, and that closing them or letting their leases end gives it back."""

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from env_harness import Process, raw_stub

from hiper._proto.env.v1 import env_service_pb2 as pb
from hiper.config.sections import EnvSettings
from hiper.envs.configured import open_configured_source
from services.env_server.host import SessionHost
from services.env_server.refusals import Refusal
from services.env_server.sessions import SessionSpec

LIVE, BATCH = 10_000, 250
SESSION_BYTES = 50_000
PROCESS_BYTES = 1.5e9
ROOMS = {"synthetic_preset": "40", "synthetic_train": 64, "synthetic_valid": 8, "max_sessions": LIVE}
"""Games of the size of the real ones."""


@pytest.fixture
def large_process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path, ROOMS)
    yield process
    process.kill()


async def live_sessions(stub: Any, tasks: list[str], generation: int) -> list[str]:
    """Open `LIVE` sessions and play their first two actions."""
    names = [f"{generation}-{n}" for n in range(LIVE)]
    for start in range(0, LIVE, BATCH):
        some = names[start : start + BATCH]
        specs = [
            pb.SessionSpec(session_id=name, task_id=tasks[n % len(tasks)], max_steps=50) for n, name in enumerate(some)
        ]
        created = await stub.CreateSessions(pb.CreateSessionsRequest(sessions=specs), timeout=60)
        assert not any(result.status.code for result in created.results)
        shown = (await stub.BatchReset(pb.BatchResetRequest(session_ids=some), timeout=60)).results
        for index in (1, 2):
            items = [
                pb.StepItem(session_id=name, step_index=index, action=last.admissible[n % len(last.admissible)])
                for n, (name, last) in enumerate(zip(some, shown, strict=True))
            ]
            shown = (await stub.BatchStep(pb.BatchStepRequest(items=items), timeout=60)).results
            assert not any(result.status.code for result in shown)
    return names


async def close(stub: Any, names: list[str]) -> None:
    for start in range(0, len(names), BATCH):
        await stub.CloseSessions(pb.CloseSessionsRequest(session_ids=names[start : start + BATCH]), timeout=60)


async def test_ten_thousand_sessions_fit_into_a_process_and_the_next_ten_thousand_into_the_same_memory(
    large_process: Process,
) -> None:
    large_process.start()
    assert large_process.process is not None
    server = psutil.Process(large_process.process.pid)
    async with raw_stub(large_process.address) as stub:
        await stub.GetInfo(pb.GetInfoRequest(), wait_for_ready=True, timeout=60)
        tasks = [task.task_id for task in (await stub.ListTasks(pb.ListTasksRequest(split="train"), timeout=60)).tasks]
        empty = server.memory_info().rss
        peaks = []
        for generation in range(3):
            names = await live_sessions(stub, tasks, generation)
            assert (await stub.GetInfo(pb.GetInfoRequest(), timeout=60)).sessions == LIVE
            peaks.append(server.memory_info().rss)
            await close(stub, names)
    assert peaks[0] < PROCESS_BYTES
    assert (peaks[0] - empty) / LIVE < SESSION_BYTES
    assert peaks[2] < 1.1 * peaks[0]


@pytest.mark.parametrize("end", ["closed", "lease over"])
def test_what_a_session_takes_is_given_back(end: str) -> None:
    """Counted by the allocator: what the system shows of a process does not shrink with what it uses."""
    settings = EnvSettings(**{**ROOMS, "max_sessions": 1000, "lease_s": 10.0})
    source = open_configured_source(settings)
    now = [0.0]
    host = SessionHost(source, settings, lambda: now[0])
    tasks = source.ids("train")

    def fill() -> None:
        for n in range(1000):
            task = tasks[n % len(tasks)]
            assert not isinstance(host.create(SessionSpec(f"{n}", task, seed=0, max_steps=50)), Refusal)
            host.reset(f"{n}")
            host.step(f"{n}", 1, "look")

    def free() -> None:
        if end == "closed":
            assert all(host.close(f"{n}") for n in range(1000))
        else:
            now[0] += 10.0
            host.reap()
        assert len(host.table) == 0
        gc.collect()

    fill()  # parses the games, which stay
    free()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        fill()
        held = tracemalloc.get_traced_memory()[0] - before
        free()
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held / 1000 < SESSION_BYTES
    assert left < 0.02 * held
