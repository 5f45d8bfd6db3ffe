"""Stand-alone start-up of a child: tie its life to its parent's, keep it to its cores, then become the command.

`python -I -S launch.py PARENT_PID CORES COMMAND...`; CORES are numbers with commas between, or empty. The parent-death
signal and the cores survive `exec`, and whatever the command starts inherits the latter. Done in a program of its own
because code between fork and exec is not safe in a process with threads. Uses the standard library only.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Arm the signal, check that the parent has not died meanwhile, and replace this process."""
    parent, cores, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("the supervisor is gone")
    if cores:
        os.sched_setaffinity(0, map(int, cores.split(",")))
    try:
        os.execvp(command[0], command)  # noqa: S606 - the command comes from the service table
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
