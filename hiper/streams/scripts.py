"""The Lua scripts, one file each in `lua/`. `--#include NAME` pulls in a shared part.

One script is one atomic step; a repeat with the same arguments is harmless; every key is passed as KEYS. A script with
a `#!lua flags=allow-oom` header drains a full broker; `publish` has none, so that memory that is full refuses it before
its first write (spec/streams.md, 4).
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["Script", "load"]

_INCLUDE = re.compile(r"^--#include (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the digest the server caches it under."""

    name: str
    source: str
    digest: str


@cache
def load(name: str) -> Script:
    """Return the script `lua/<name>.lua` with its includes."""
    source = _INCLUDE.sub(lambda match: _read(match[1]), _read(name))
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return resources.files(__package__).joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
