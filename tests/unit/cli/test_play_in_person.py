"""A person plays at a terminal: a real pseudo-terminal, the real command."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

DEADLINE_S = 60.0
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
PROMPT = "action or number> "
_PROGRAM = """
import fcntl, runpy, signal, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # the terminal is the process's own: Ctrl-C reaches it
signal.signal(signal.SIGINT, signal.default_int_handler)  # even where the tests run in the background
runpy.run_module("hiper", run_name="__main__")
"""


class Terminal:
    """What a person sees and types."""

    def __init__(self, screen: int, process: subprocess.Popen[bytes]) -> None:
        self._screen = screen
        self._process = process
        self._unread = ""

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def until(self, words: str) -> str:
        """What appears, up to and with `words`."""
        give_up = time.monotonic() + DEADLINE_S
        while words not in self._unread:
            left = give_up - time.monotonic()
            assert left > 0, f"{words!r} did not appear: {self._unread[-500:]!r}"
            if select.select([self._screen], [], [], left)[0]:
                self._unread += os.read(self._screen, 4096).decode(errors="replace").replace("\r\n", "\n")
        seen, words, self._unread = self._unread.partition(words)
        return seen + words

    def ends(self) -> int:
        return self._process.wait(DEADLINE_S)

    def interrupted(self) -> int:
        """Press Ctrl-C as a person does, again if nothing happens: CPython can miss a signal that comes between the
        prompt and the read behind it until the next key."""
        give_up = time.monotonic() + DEADLINE_S
        while time.monotonic() < give_up:
            self.type("\x03")
            with suppress(subprocess.TimeoutExpired):
                return self._process.wait(1.0)
        return self.ends()


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    screen, keyboard = pty.openpty()
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(EXAMPLES), *sys.path]), "TERM": "dumb"}
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, "env", "play", *arguments],
        stdin=keyboard, stdout=keyboard, stderr=keyboard, env=variables, start_new_session=True,
    )  # fmt: skip
    os.close(keyboard)
    try:
        yield Terminal(screen, process)
    finally:
        process.kill()
        process.wait()
        os.close(screen)


def number_of(action: str, seen: str) -> str:
    found = re.search(rf"^ *(\d+)  {re.escape(action)}$", seen, re.M)
    assert found, f"{action!r} is not offered in {seen!r}"
    return found[1]


OWN = ("--env", "key_and_door:KeyAndDoor", "--task", "train/1-1")


def test_a_person_wins_by_numbers_and_words() -> None:
    with terminal(*OWN) as at:
        seen = at.until(PROMPT)
        assert "Your task is to: open the door in room 1" in seen
        at.type(number_of("go right", seen) + "\n")
        assert "You see a key" in at.until(PROMPT)
        at.type("dance\n")
        assert "Nothing happens." in at.until(PROMPT)
        at.type("take key\n")
        at.type(number_of("open door", at.until(PROMPT)) + "\n")
        assert "The door is open." in at.until("solved after 4 steps, score 1")
        assert at.ends() == 0


@pytest.mark.parametrize("leave", ["quit\n", "\x04"])
def test_a_person_can_leave(leave: str) -> None:
    with terminal(*OWN) as at:
        at.until(PROMPT)
        at.type("\n99\n")
        at.until("there is no action 99; type 1 to 2")
        at.until(PROMPT)
        at.type(leave)
        assert at.ends() == 0


def test_ctrl_c_ends_it_without_a_traceback() -> None:
    with terminal(*OWN) as at:
        at.until(PROMPT)
        assert at.interrupted() == 130


def test_without_a_task_there_is_one() -> None:
    with terminal("--max-steps", "1") as at:
        assert "Your task is to:" in at.until(PROMPT)
        at.type("look\n")
        at.until("out of steps after 1 steps, score 0")
        assert at.ends() == 0


def test_a_shop_is_searched_and_clicked() -> None:
    with terminal("--env", "webshop", "--task", "goal:0") as at:
        at.type(number_of("search[<your query>]", at.until(PROMPT)) + "\n")
        at.until("type the search itself, e.g. search[red shoes]")
        at.until(PROMPT)
        at.type("search[cotton]\n")
        at.type(number_of("click[back to search]", at.until(PROMPT)) + "\n")
        assert "search[<your query>]" in at.until(PROMPT)
