"""A run directory before its run: fresh, or the one of an earlier run that goes on."""

import json
from pathlib import Path
from typing import Any

from hiper.config import RunConfig, config_hash
from hiper.durable import write_json
from hiper.errors import RunStateError
from hiper.supervisor.plan import CONFIG_NAME

__all__ = ["move_aside", "open_run_directory"]

_MARK = "run.json"


def move_aside(run_dir: Path) -> Path | None:
    """Move an earlier run out of the way, to `<run_dir>.<n>`; return where it went."""
    if not run_dir.exists():
        return None
    number = 1
    while (aside := run_dir.with_name(f"{run_dir.name}.{number}")).exists():
        number += 1
    run_dir.rename(aside)
    return aside


def open_run_directory(run_dir: Path, config: RunConfig) -> None:
    """Write the resolved configuration, or check that the directory's run has the same one.

    How its processes are run may differ each time.
    Raises `RunStateError` naming the first setting that differs.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    tree = config.model_dump(mode="json", exclude={"broker": {"url"}})
    path = run_dir / CONFIG_NAME
    if path.exists():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        difference = _first_difference({**earlier, "supervisor": {}}, {**tree, "supervisor": {}})
        if difference:
            raise RunStateError(
                f"{run_dir} holds a run with other settings: {difference}",
                "start over with --fresh, or give another --run-dir",
            )
        return
    write_json(path, tree)
    write_json(run_dir / _MARK, {"config_sha256": config_hash(config)})


def _first_difference(earlier: dict[str, Any], now: dict[str, Any], prefix: str = "") -> str:
    for key in sorted(earlier.keys() | now.keys()):
        old, new = earlier.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            deeper = _first_difference(old, new, f"{prefix}{key}.")
            if deeper:
                return deeper
        elif old != new:
            return f"{prefix}{key} was {old}, now {new}"
    return ""
