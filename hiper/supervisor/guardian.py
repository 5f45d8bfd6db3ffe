"""The guardian: kills what a killed supervisor leaves behind.

A parent-death signal reaches children only, not what they started (vLLM's engine is a grandchild). The guardian holds
the read end of a pipe. The supervisor writes `+<pgid>` and `-<pgid>` lines; when the pipe ends, however that came
about, every group still registered is killed. Stand-alone, standard library only; started by `GuardianProcess`.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterable

__all__ = ["survivors"]


def survivors(lines: Iterable[str]) -> set[int]:
    """Return the process groups that are registered after `lines`; a torn last line is ignored."""
    groups: set[int] = set()
    for line in lines:
        if not line.endswith("\n") or not line[1:].strip().isdigit():
            continue
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    return groups


def main() -> None:
    """Read the pipe to its end, then kill."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for group in survivors(sys.stdin):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
