"""docker-compose.yml as its tests see it: variables of .env filled in, one object a service."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
STEPS = ("init", "warmstart", "smoke")
"""Services that do one thing and end."""
FOREIGN = ("prometheus", "grafana", "jaeger")
"""Services that run somebody else's image."""


def defaults() -> dict[str, str]:
    lines = (ROOT / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def filled(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$NAME`, `${NAME}` and `${NAME:-other}`; a name that .env lacks is an error."""

    def value(match: re.Match[str]) -> str:
        name = match["plain"] or match["braced"]
        return variables[name] or match["other"] or ""

    return re.sub(r"\$(?:(?P<plain>[A-Z_]+)|\{(?P<braced>[A-Z_]+)(?::-(?P<other>[^}]*))?\})", value, text)


@dataclass(frozen=True)
class Service:
    name: str
    tree: Mapping[str, Any]

    @property
    def command(self) -> list[str]:
        return list(self.tree.get("command", []))

    @property
    def environment(self) -> dict[str, str]:
        return dict(self.tree.get("environment", {}))

    @property
    def mounts(self) -> dict[str, tuple[str, str]]:
        """Target to source and mode."""
        rows = [row.split(":") for row in self.tree.get("volumes", [])]
        return {row[1]: (row[0], row[2] if len(row) > 2 else "rw") for row in rows}

    @property
    def is_hiper(self) -> bool:
        """Whether it runs the `hiper` command."""
        return self.name not in (*FOREIGN, "broker", "smoke")


@cache
def compose(**changed: str) -> Mapping[str, Any]:
    return dict(yaml.safe_load(filled((ROOT / "docker-compose.yml").read_text(), {**defaults(), **changed})))


def services(**changed: str) -> dict[str, Service]:
    return {name: Service(name, tree) for name, tree in compose(**changed)["services"].items()}


EVERY = services()
OURS = {name: service for name, service in EVERY.items() if service.is_hiper}
