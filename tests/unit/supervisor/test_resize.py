"""The supervisor starts and drains processes of a service while the others go on, and keeps them to their cores."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hiper.config.sections import SupervisorSettings
from hiper.supervisor.plan import ProcessPlan
from hiper.supervisor.status import ProcessState
from hiper.supervisor.supervise import End, Supervisor

_PROGRAM = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(0)); time.sleep(600)"


async def ready() -> bool:
    return True


def plan(directory: Path, name: str) -> ProcessPlan:
    argv = (sys.executable, "-c", _PROGRAM)
    return ProcessPlan(name, name.partition("-")[0], argv, dict(os.environ), directory / f"{name}.log", probe=ready)


def supervisor_of(*plans: ProcessPlan, **settings: object) -> Supervisor:
    return Supervisor(plans, SupervisorSettings.model_validate(settings), finished=lambda: False)


async def until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < give_up, "it did not happen in time"
        await asyncio.sleep(0.02)


def states(supervisor: Supervisor) -> dict[str, ProcessState]:
    return {process.name: process.state for process in supervisor.processes()}


def pids(supervisor: Supervisor) -> dict[str, int | None]:
    return {process.name: process.pid for process in supervisor.processes()}


async def test_processes_come_and_go_while_the_others_stay(tmp_path: Path) -> None:
    workers = [plan(tmp_path, f"worker-{index}") for index in range(3)]
    other = plan(tmp_path, "other-0")
    supervisor = supervisor_of(workers[0], other)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: set(states(supervisor).values()) == {ProcessState.READY})
    before = pids(supervisor)

    supervisor.resize("worker", workers)
    await until(lambda: list(states(supervisor).values()) == [ProcessState.READY] * 4)
    grown = pids(supervisor)
    assert {name: grown[name] for name in before} == before, "nobody else was touched"

    supervisor.resize("worker", workers[:1])
    assert set(states(supervisor)) == {"worker-0", "other-0"}
    assert pids(supervisor) == before
    gone = [grown["worker-1"], grown["worker-2"]]
    await until(lambda: not any(pid and Path(f"/proc/{pid}").exists() for pid in gone))
    assert [one.name for one in supervisor.plans] == ["worker-0", "other-0"]

    supervisor.stop()
    assert (await running).end is End.STOPPED
    supervisor.resize("worker", workers)
    assert set(states(supervisor)) == {"worker-0", "other-0"}, "nothing starts once the run is over"


async def test_a_new_process_is_kept_like_the_others(tmp_path: Path) -> None:
    first, second = plan(tmp_path, "worker-0"), plan(tmp_path, "worker-1")
    supervisor = supervisor_of(first)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: states(supervisor) == {"worker-0": ProcessState.READY})
    supervisor.resize("worker", [first, second])
    await until(lambda: states(supervisor).get("worker-1") is ProcessState.READY)
    pid = pids(supervisor)["worker-1"]
    assert pid is not None
    os.kill(pid, 9)
    await until(lambda: pids(supervisor)["worker-1"] not in (pid, None))
    supervisor.stop()
    await running


async def test_a_service_is_kept_to_its_cores(tmp_path: Path) -> None:
    ours = os.sched_getaffinity(0)
    wanted = {"pinned-0": {max(ours)}, "free-0": ours}
    supervisor = supervisor_of(plan(tmp_path, "pinned-0"), plan(tmp_path, "free-0"), cores={"pinned": [max(ours)]})
    running = asyncio.create_task(supervisor.run())
    await until(lambda: set(states(supervisor).values()) == {ProcessState.READY})
    await until(lambda: {name: os.sched_getaffinity(pid or 0) for name, pid in pids(supervisor).items()} == wanted)
    supervisor.stop()
    await running
