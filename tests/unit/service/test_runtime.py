"""A service process as its supervisor sees it: health over HTTP, signals, exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hiper.service import Health

PROGRAM = """
import asyncio, sys
from pathlib import Path
from hiper.errors import DependencyError
from hiper.service import ServiceContext, run_service

async def main(context: ServiceContext) -> None:
    mode = sys.argv[1]
    if mode == "fail":
        raise DependencyError("the broker at host:1 is gone", "start it")
    if mode == "fail-in-group":
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
    if mode == "crash":
        raise ZeroDivisionError("defect")
    context.health.set("service", True)
    await context.stop.wait()
    if mode == "stubborn":
        await asyncio.sleep(60)

async def fail():
    raise DependencyError("the broker at host:1 is gone", "start it")

sys.exit(run_service("test", main, config=Path(sys.argv[2]), run_dir=Path(sys.argv[2]).parent, name="test-0"))
"""
DEADLINE_S = 30


@pytest.fixture
def address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@contextmanager
def service(tmp_path: Path, mode: str, address: str) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "run.yaml").write_text("")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, mode, str(tmp_path / "run.yaml")],
        env={**os.environ, "HIPER_HTTP_ADDRESS": address},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def wait_ready(address: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while get(f"http://{address}/readyz")[0] != 200:
        assert time.monotonic() < deadline, "never became ready"
        time.sleep(0.05)


def test_health_metrics_and_clean_end(tmp_path: Path, address: str) -> None:
    with service(tmp_path, "run", address) as process:
        wait_ready(address)
        assert get(f"http://{address}/healthz")[0] == 200
        assert json.loads(get(f"http://{address}/readyz")[1])["checks"]["service"]["ok"]
        metrics = get(f"http://{address}/metrics")[1]
        assert 'hiper_build_info{component="test"' in metrics
        assert "hiper_config_info" in metrics
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


def test_second_signal_ends_at_once(tmp_path: Path, address: str) -> None:
    with service(tmp_path, "stubborn", address) as process:
        wait_ready(address)
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + DEADLINE_S
        while get(f"http://{address}/readyz")[0] == 200:
            assert time.monotonic() < deadline, "still ready while draining"
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 130


@pytest.mark.parametrize("mode", ["fail", "fail-in-group"])
def test_expected_failure_is_one_line_and_a_code(tmp_path: Path, address: str, mode: str) -> None:
    with service(tmp_path, mode, address) as process:
        _, stderr = process.communicate(timeout=DEADLINE_S)
    last = json.loads(stderr.splitlines()[-1])
    assert process.returncode == 3
    assert last["error"] == "the broker at host:1 is gone — start it"
    assert "Traceback" not in stderr


def test_defect_keeps_its_traceback(tmp_path: Path, address: str) -> None:
    with service(tmp_path, "crash", address) as process:
        _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert "ZeroDivisionError: defect" in stderr


def test_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with service(tmp_path, "run", f"127.0.0.1:{port}") as process:
            _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 3
    assert f"cannot listen on 127.0.0.1:{port}" in stderr
    assert "Traceback" not in stderr


def test_health_is_ready_only_if_every_check_holds() -> None:
    health = Health("broker", "engine")
    assert not health.ready()
    health.set("broker", True)
    health.set("engine", True, "version 3")
    assert health.ready()
    health.set("broker", False, "away")
    assert not health.ready()
    assert health.alive()


def test_health_is_dead_when_the_loop_stops() -> None:
    health = Health(beat_timeout_s=0.0)
    assert not health.alive()
    assert not health.ready()
