"""The env client against servers that stall, restart and vanish: a player never sees a difference."""

import asyncio
import signal
from typing import Any

import pytest
from env_harness import SMALL, Process, in_process

from hiper.config.sections import EnvSettings
from hiper.envs.base import StepResult, TaskSource
from hiper.envs.configured import open_configured_source
from hiper.errors import ConfigError, DataError, IntegrityError, RemoteError, RunStateError
from hiper.metrics import counter
from hiper.rpc.env_addresses import Directory
from hiper.rpc.env_client import EnvClient

TURNS = 6


def settings(*addresses: str, **changes: Any) -> EnvSettings:
    return EnvSettings(**{**SMALL, "addresses": addresses, "unavailable_timeout_s": 30.0, **changes})


def choose(shown: StepResult, turn: int) -> str:
    return shown.admissible[(7 * turn + 3) % len(shown.admissible)]


def played_locally(source: TaskSource, task_id: str) -> list[StepResult]:
    episode = source.open(task_id, max_steps=50)
    shown = [episode.reset()]
    for turn in range(TURNS):
        shown.append(episode.step(choose(shown[-1], turn)))
    return shown


async def play(client: EnvClient, session_id: str, task_id: str, between: Any = None) -> list[StepResult]:
    shown = [await client.open(session_id, task_id, seed=0, max_steps=50)]
    for turn in range(TURNS):
        if between is not None:
            await between(turn)
        shown.append(await client.step(session_id, choose(shown[-1], turn)))
    await client.close(session_id)
    return shown


def recoveries() -> float:
    return float(counter("rollout_env_recoveries_total")._value.get())


async def test_many_episodes_at_once_equal_the_engine_and_leave_nothing_behind() -> None:
    async with in_process(settings()) as server, EnvClient(settings(server.address, max_items=16)) as client:
        ids = server.source.ids("train")
        plays = [play(client, f"run/train-0/{n}/0", ids[n % len(ids)]) for n in range(48)]
        for n, shown in enumerate(await asyncio.gather(*plays)):
            assert shown == played_locally(server.source, ids[n % len(ids)])
        assert len(server.table) == 0


async def test_describes_tasks_and_servers() -> None:
    async with in_process(settings()) as server, EnvClient(settings(server.address)) as client:
        tasks = await client.list_tasks("valid")
        assert [task.task_id for task in tasks] == server.source.ids("valid")
        info = await client.info()
        assert (info.env, info.data_version, info.splits) == ("alfworld", "synthetic", {"train": 12, "valid": 4})
        await client.open("s", tasks[0].task_id, seed=0, max_steps=5)
        assert client.describe("s") == tasks[0]


async def test_sessions_spread_over_servers_and_stick_to_theirs() -> None:
    async with in_process(settings()) as one, in_process(settings()) as two:
        async with EnvClient(settings(one.address, two.address)) as client:
            ids = one.source.ids("train")
            await asyncio.gather(*(client.open(f"s{n}", ids[n], seed=0, max_steps=50) for n in range(8)))
            await asyncio.gather(*(client.step(f"s{n}", "look") for n in range(8)))
            assert (len(one.table), len(two.table)) == (4, 4)
        assert (len(one.table), len(two.table)) == (0, 0)


async def test_servers_behind_a_name_are_used_as_they_come_and_left_as_they_go() -> None:
    names = ["127.0.0.1"]

    async def ask(_host: str, _port: int) -> list[str]:
        return names

    async with in_process(settings()) as one:
        port = one.address.rpartition(":")[2]
        directory = Directory((f"dns:///env:{port}",), ask=ask, refresh_s=0)
        async with (
            in_process(settings(), address=f"127.0.0.2:{port}") as two,
            EnvClient(settings(), directory) as client,
        ):
            task_id = one.source.ids("train")[0]
            first = await client.open("a", task_id, seed=0, max_steps=50)
            names.append("127.0.0.2")
            await client.open("b", task_id, seed=0, max_steps=50)
            assert (len(one.table), len(two.table)) == (1, 1)
            names.remove("127.0.0.1")  # no new sessions there, and those it has stay
            await client.open("c", task_id, seed=0, max_steps=50)
            await client.open("d", task_id, seed=0, max_steps=50)
            await client.step("a", first.admissible[0])
            assert (len(one.table), len(two.table)) == (1, 3)
            for session_id in "abcd":
                await client.close(session_id)
            assert (len(one.table), len(two.table)) == (0, 0)
            assert (await client.info()).sessions == 0


async def test_a_killed_and_restarted_server_is_not_noticed_by_the_player(env_process: Process) -> None:
    env_process.start()
    before = recoveries()
    config = settings(env_process.address)
    ids = open_configured_source(config).ids("train")

    async with EnvClient(config) as client:
        incarnation = (await client.info()).incarnation

        async def restart(turn: int) -> None:
            if turn == 3:
                env_process.kill()
                env_process.start()

        shown = await play(client, "run/train-0/0/0", ids[0], between=restart)
        assert shown == played_locally(open_configured_source(config), ids[0])
        assert recoveries() == before + 1
        assert (await client.info()).incarnation != incarnation


async def test_a_stopped_server_runs_into_the_deadline_and_another_one_takes_over(env_process: Process) -> None:
    env_process.start()
    async with in_process(settings()) as other:
        config = settings(env_process.address, other.address, step_timeout_s=0.5)
        ids = other.source.ids("train")
        async with EnvClient(settings(env_process.address)) as probe:
            await probe.info()  # it is up

        async def stop(turn: int) -> None:
            if turn == 2:
                env_process.send(signal.SIGSTOP)

        async with EnvClient(config) as client:
            first = await client.open("first", ids[1], seed=0, max_steps=50)  # the process is first in line
            assert len(other.table) == 0
            assert await play(client, "second", ids[2]) == played_locally(other.source, ids[2])
            await stop(2)
            after = await client.step("first", choose(first, 0))
            assert after == played_locally(other.source, ids[1])[1]
            assert len(other.table) == 1


async def test_a_server_that_never_comes_is_named_with_the_bound() -> None:
    async with EnvClient(settings("127.0.0.1:1", unavailable_timeout_s=3.0)) as client:
        with pytest.raises(RemoteError, match=r"open of session s .* 3 s .* 127\.0\.0\.1:1.*UNAVAILABLE"):
            await client.open("s", "any", seed=0, max_steps=1)


async def test_a_lease_that_ran_out_is_rebuilt() -> None:
    class Clock:
        now_s = 0.0

        def __call__(self) -> float:
            return self.now_s

    clock = Clock()
    async with (
        in_process(settings(lease_s=5.0), clock=clock) as server,
        EnvClient(settings(server.address)) as client,
    ):

        async def pause(turn: int) -> None:
            if turn % 2:
                clock.now_s += 5.0
                assert server.table.reap() == 1

        task_id = server.source.ids("train")[3]
        assert await play(client, "s", task_id, between=pause) == played_locally(server.source, task_id)


async def test_a_server_with_other_data_is_an_integrity_error() -> None:
    async with in_process(settings()) as server:
        ids = server.source.ids("train")

        class OtherGames:
            def __getattr__(self, name: str) -> Any:
                return getattr(server.source, name)

            def open(self, _task_id: str, **options: Any) -> Any:
                return server.source.open(ids[5], **options)

        async with in_process(settings(), source=OtherGames()) as other:  # type: ignore[arg-type]
            client = EnvClient(settings(server.address, other.address))
            await client.open("s", ids[0], seed=0, max_steps=50)
            server.table.close(next(iter(server.table._sessions)))
            with pytest.raises(IntegrityError, match="replaying 0 actions"):
                await client.step("s", "look")
            await client.aclose()


async def test_waiting_for_a_place_uses_the_hint() -> None:
    async with (
        in_process(settings(max_sessions=1)) as server,
        EnvClient(settings(server.address)) as client,
    ):
        ids = server.source.ids("train")
        await client.open("first", ids[0], seed=0, max_steps=50)
        waiting = asyncio.create_task(client.open("second", ids[1], seed=0, max_steps=50))
        await client.step("first", "look")
        assert not waiting.done()
        await client.close("first")
        assert (await waiting).observation == played_locally(server.source, ids[1])[0].observation


async def test_two_players_of_one_trajectory_do_not_meet() -> None:
    async with in_process(settings()) as server:
        task_id = server.source.ids("train")[4]
        async with EnvClient(settings(server.address)) as one, EnvClient(settings(server.address)) as two:
            both = await asyncio.gather(play(one, "run/b/0/0", task_id), play(two, "run/b/0/0", task_id))
        assert both == [played_locally(server.source, task_id)] * 2


async def test_an_endless_action_is_an_inadmissible_action() -> None:
    async with in_process(settings()) as server, EnvClient(settings(server.address)) as client:
        await client.open("s", server.source.ids("train")[0], seed=0, max_steps=50)
        assert not (await client.step("s", "é" * 5000)).action_valid


async def test_misuse_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"env\.addresses"):
        EnvClient(settings())
    async with in_process(settings()) as server, EnvClient(settings(server.address)) as client:
        with pytest.raises(DataError, match="UNKNOWN_TASK"):
            await client.open("s", "no/such/task", seed=0, max_steps=1)
        with pytest.raises(RunStateError, match="not open"):
            await client.step("s", "look")
        await client.open("s", server.source.ids("train")[0], seed=0, max_steps=1)
        with pytest.raises(RunStateError, match="already open"):
            await client.open("s", server.source.ids("train")[0], seed=0, max_steps=1)
        await client.step("s", "look")
        with pytest.raises(RemoteError, match="EPISODE_OVER"):
            await client.step("s", "look")
        with pytest.raises(RemoteError, match="UNKNOWN_SPLIT"):
            await client.list_tasks("nowhere")


async def test_sigterm_ends_the_process_cleanly(env_process: Process) -> None:
    env_process.start()
    async with EnvClient(settings(env_process.address)) as client:
        await client.info()
        env_process.send(signal.SIGTERM)
        assert await env_process.wait() == 0
    assert "env server drained" in env_process.log()


async def test_a_taken_port_ends_the_process_with_one_line(env_process: Process) -> None:
    async with in_process(settings(), address=env_process.address):
        env_process.start()
        assert await env_process.wait() == 3
    assert "Traceback" not in env_process.log()
    assert f"cannot listen on {env_process.address}" in env_process.log()
