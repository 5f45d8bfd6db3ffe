"""`hiper run ...` against a broker that is up: wishes arrive, and are shown."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from control_world import World


def hiper(run_dir: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "hiper", "run", *words, "--run-dir", str(run_dir)]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)


async def shown(world: World, *words: str) -> str:
    """Run a command on the run of `world`, as on its machine; return what it printed."""
    (world.run_dir / "config.json").write_text(json.dumps({"run": "steered"}))
    url = world.broker.settings.url
    assert url is not None
    done = await asyncio.to_thread(hiper, world.run_dir, *words, HIPER_BROKER__URL=url.get_secret_value())
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_wishes_arrive_and_are_shown(world: World) -> None:
    assert await shown(world, "show") == "starting, policy version 0\nwished: nothing\n"
    for word in ("pause", "stop", "evaluate"):
        await shown(world, word)
    record = await world.control.read()
    assert (record.paused, record.stop_asked, record.evaluation_asked) == (True, True, True)
    assert "wished: pause, stop, evaluation" in await shown(world, "show")
    await shown(world, "resume")
    assert json.loads(await shown(world, "show", "-o", "json"))["paused"] is False


def test_a_folder_without_a_run_is_one_line(tmp_path: Path) -> None:
    done = hiper(tmp_path, "pause")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "holds no run" in done.stderr
