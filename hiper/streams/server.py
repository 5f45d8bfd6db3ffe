"""Is this server fit to keep a run? Decided from its `INFO`, which managed servers show even where they hide CONFIG."""

from collections.abc import Mapping
from dataclasses import dataclass

from hiper.config.sections import BrokerSettings

__all__ = ["ServerInfo", "objections"]

MINIMUM = {"Valkey": (7, 2), "Redis": (7, 0)}
"""Oldest versions of each server whose XAUTOCLAIM, script flags and multi-part AOF the protocol was verified with."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What matters of a server's INFO. Empty or None: it does not say."""

    kind: str
    version: str
    maxmemory_policy: str
    maxmemory: int | None
    appendonly: bool | None

    @classmethod
    def parse(cls, info: Mapping[str, object]) -> "ServerInfo":
        """Read a parsed INFO reply."""
        valkey = info.get("valkey_version")
        aof, memory = info.get("aof_enabled"), info.get("maxmemory")
        return cls(
            kind="Valkey" if valkey else "Redis",
            version=str(valkey or info.get("redis_version", "")),
            maxmemory_policy=str(info.get("maxmemory_policy", "")),
            maxmemory=int(str(memory)) if memory is not None else None,
            appendonly=bool(int(str(aof))) if aof is not None else None,
        )

    @property
    def name(self) -> str:
        """Kind and version, for people."""
        return f"{self.kind} {self.version or '(unknown version)'}"


def version_tuple(text: str) -> tuple[int, ...]:
    """`7.0.15` -> (7, 0, 15); what does not parse ends the tuple."""
    parts: list[int] = []
    for part in text.split("."):
        if not part.isdecimal():
            break
        parts.append(int(part))
    return tuple(parts)


def objections(info: ServerInfo, settings: BrokerSettings) -> list[tuple[str, str]]:
    """Return what is wrong with a server as (message, hint), the gravest first; empty if it is fit."""
    found: list[tuple[str, str]] = []
    minimum = MINIMUM[info.kind]
    if version_tuple(info.version) < minimum:
        found.append(
            (f"it is {info.name}, too old", f"use Redis >= {_dotted('Redis')} or Valkey >= {_dotted('Valkey')}"),
        )
    if info.maxmemory_policy != "noeviction":
        found.append(
            (
                f"its maxmemory-policy is {info.maxmemory_policy or 'unknown'}: full, it would delete trajectories",
                "set maxmemory-policy noeviction",
            )
        )
    if not info.appendonly and not settings.allow_data_loss:
        found.append(
            (
                f"it keeps no append-only file (appendonly {'unknown' if info.appendonly is None else 'no'}): "
                "a restart would lose the run",
                "set appendonly yes, or broker.allow_data_loss for a throw-away run",
            )
        )
    return found


def _dotted(kind: str) -> str:
    return ".".join(map(str, MINIMUM[kind]))
