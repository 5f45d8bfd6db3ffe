"""One started process and everything it starts, and the guardian that outlives the supervisor.

A child leads a session of its own, so a terminal's Ctrl-C reaches the supervisor alone. When a child ends, whatever is
left of its process group is killed before anybody hears of it: nothing of an old life survives into the next one.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from hiper import logs
from hiper.supervisor import guardian as guardian_program
from hiper.supervisor import launch as launch_program

__all__ = ["Child", "Guardian", "end", "tied"]

_GROUP_END_S = 2.0


class Guardian:
    """The guardian process, started again should it be killed; an async context manager."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Guardian":
        self._process = await self._start()
        self._watcher = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()

    def add(self, group: int) -> None:
        """Have `group` killed when this process is gone."""
        self._groups.add(group)
        self._send(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Forget a group that has ended."""
        self._groups.discard(group)
        self._send(f"-{group}\n")

    def _send(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(line.encode())

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *_isolated(guardian_program.__file__), stdin=asyncio.subprocess.PIPE, start_new_session=True
        )

    async def _watch(self) -> None:
        while True:
            assert self._process is not None
            await self._process.wait()
            logs.get().warning("the guardian was killed; starting another", next="restart")
            self._process = await self._start()
            for group in self._groups:
                self._send(f"+{group}\n")


class Child:
    """A running process group. Make one with `Child.start`."""

    def __init__(self, process: asyncio.subprocess.Process, guardian: Guardian) -> None:
        self._process = process
        self._guardian = guardian
        self._end = asyncio.create_task(self._reap())

    @classmethod
    async def start(cls, argv: Sequence[str], environment: Mapping[str, str], log: Path, guardian: Guardian) -> "Child":
        """Start `argv`, made by `tied`, with exactly `environment`; stdout and stderr are appended to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=dict(environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        guardian.add(process.pid)
        return cls(process, guardian)

    @property
    def pid(self) -> int:
        """Process id, also the id of its group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process, or something of its group, may still be there."""
        return not self._end.done()

    async def wait(self) -> int:
        """Wait until the whole group is gone; return the leader's exit code (negative = killed by that signal)."""
        return await asyncio.shield(self._end)

    def terminate(self) -> None:
        """Ask the process to drain and end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the whole group at once."""
        _kill_group(self.pid)

    async def _reap(self) -> int:
        code = await self._process.wait()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _GROUP_END_S
        # Members that ignore nothing end at once; a container without a reaping init may keep their zombies for ever.
        while _kill_group(self.pid) and loop.time() < deadline:  # noqa: ASYNC110 - no event tells of a dead group
            await asyncio.sleep(0.02)
        self._guardian.remove(self.pid)
        return code


def end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """Ask a process to end, and kill it if it has not by `grace_s`."""
    process.terminate()
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tied(argv: Sequence[str], cores: Sequence[int] = ()) -> tuple[str, ...]:
    """The command that becomes `argv`, is killed when this process ends, and uses `cores` only, if there are any."""
    return *_isolated(launch_program.__file__), str(os.getpid()), ",".join(map(str, cores)), *argv


def _kill_group(group: int) -> bool:
    """Kill a process group; False if it has no member."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _isolated(program: str | None) -> tuple[str, ...]:
    assert program is not None
    return sys.executable, "-I", "-S", program
