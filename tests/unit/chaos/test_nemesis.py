"""The plan of the nemesis, its proxy, and the failpoints."""

import asyncio
import itertools
import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.chaos.plan import DeedKind, PlanLimits, deeds
from hiper.chaos.proxy import FaultProxy, Faults
from hiper.errors import ConfigError
from hiper.failpoint import EXIT_CODE, Failpoint, arm_failpoint, failpoint

NAMES = ["broker", "learner-0", "rollout-0"]
BOUND_S = 10.0


@given(st.integers(0, 2**32), st.booleans())
def test_a_plan_follows_from_its_seed_and_spares_nobody(seed: int, network: bool) -> None:
    first, again = (list(itertools.islice(deeds(seed, NAMES, PlanLimits(), network=network), 60)) for _ in range(2))
    assert first == again
    hit = Counter(deed.target for deed in first if deed.kind is DeedKind.KILL)
    assert set(hit) == set(NAMES)
    kinds = {deed.kind for deed in first}
    assert network or kinds <= {DeedKind.KILL, DeedKind.FREEZE}
    assert all(deed.target == "network" for deed in first if deed.kind not in (DeedKind.KILL, DeedKind.FREEZE))


@asynccontextmanager
async def echo_through_proxy() -> AsyncIterator[FaultProxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1000):
            writer.write(chunk)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1], random.Random(0)) as proxy:
        yield proxy


async def ask(proxy: FaultProxy, text: bytes) -> bytes:
    async with asyncio.timeout(BOUND_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(text)
        answer = await reader.readexactly(len(text))
        writer.close()
        return answer


@pytest.mark.parametrize("faults", [Faults(), Faults(slice_bytes=3), Faults(latency_s=0.01, jitter_s=0.01)])
async def test_bytes_arrive_whole_and_in_order(faults: Faults) -> None:
    async with echo_through_proxy() as proxy:
        proxy.faults = faults
        text = bytes(range(256))
        assert await ask(proxy, text) == text


async def test_a_black_hole_carries_nothing_until_it_is_lifted() -> None:
    async with echo_through_proxy() as proxy:
        proxy.faults = Faults(black_hole=True)
        asked = asyncio.create_task(ask(proxy, b"hello"))
        done, _ = await asyncio.wait({asked}, timeout=0.2)
        assert not done
        proxy.faults = Faults()
        assert await asked == b"hello"


async def test_a_reset_is_an_error_at_the_client_and_new_connections_work() -> None:
    async with echo_through_proxy() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        assert proxy.reset_connections() == 2
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), BOUND_S)
        assert await ask(proxy, b"again") == b"again"


async def test_refused_connections_end_at_once() -> None:
    async with echo_through_proxy() as proxy:
        proxy.faults = Faults(refuse=True)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await ask(proxy, b"hello")


@pytest.mark.parametrize(("setting", "message"), [("nowhere", "no failpoint 'nowhere'"), ("env_after_step:x", "'x'")])
def test_a_wrong_failpoint_is_refused_with_its_name(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        arm_failpoint(setting)


def test_a_failpoint_ends_the_process_at_its_pass_and_runs_no_handler() -> None:
    program = (
        "import atexit, sys\n"
        "from hiper.failpoint import Failpoint, arm_failpoint, failpoint\n"
        "atexit.register(lambda: print('handler', flush=True))\n"
        "arm_failpoint('learner_after_ack:3')\n"
        "for i in range(5):\n"
        "    print(i, flush=True)\n"
        "    failpoint(Failpoint.LEARNER_AFTER_CHECKPOINT)\n"
        "    failpoint(Failpoint.LEARNER_AFTER_ACK)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == EXIT_CODE
    assert ended.stdout.split() == ["0", "1", "2"]


def test_failpoints_that_are_not_armed_do_nothing() -> None:
    arm_failpoint(None)
    for point in Failpoint:
        failpoint(point)
