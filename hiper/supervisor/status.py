"""`status.json`: what the processes of a run are doing, rewritten whenever it changes. Holds no secret."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from hiper.durable import write_json
from hiper.errors import RunStateError

__all__ = ["ProcessState", "ProcessStatus", "RunStatus", "read_status", "write_status"]

STATUS_NAME = "status.json"


class ProcessState(StrEnum):
    """Where a process is in its life."""

    WAITING = "waiting"
    """For those it requires."""
    STARTING = "starting"
    READY = "ready"
    UNREADY = "not ready"
    """It was ready, and says why it is not now (a broker that is away, for example)."""
    BACKOFF = "restarting"
    DRAINING = "draining"
    DONE = "done"
    """A step that ended well, or a learner that has finished."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process."""

    name: str
    service: str
    state: ProcessState = ProcessState.WAITING
    detail: str = ""
    """Why it is in this state, for people."""
    pid: int | None = None
    http: str | None = None
    restarts: int = 0
    last_exit: int | None = None
    """Exit code of its previous life; negative = killed by that signal."""
    started_at: float | None = None
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Every process of a run, and the supervisor."""

    run: str
    supervisor_pid: int
    started_at: float
    phase: str
    """`running`, `draining`, `complete`, `stopped` or `failed`."""
    error: str
    processes: tuple[ProcessStatus, ...]
    ended_at: float | None = None
    """Unix seconds; None while the run goes on."""


def write_status(run_dir: Path, status: RunStatus) -> None:
    """Replace `status.json`, atomically."""
    write_json(run_dir / STATUS_NAME, asdict(status))


def read_status(run_dir: Path) -> RunStatus:
    """Read `status.json`; raise `RunStateError` if there is none or it is not one."""
    path = run_dir / STATUS_NAME
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        processes = tree.pop("processes")
        return RunStatus(processes=tuple(_process(item) for item in processes), **tree)
    except FileNotFoundError:
        raise RunStateError(f"{run_dir} holds no run", "start one with `hiper up`, or give --run-dir") from None
    except (ValueError, TypeError, KeyError) as error:
        raise RunStateError(f"{path} is not a status file: {error}", "start the run again with `hiper up`") from error


def _process(item: dict[str, object]) -> ProcessStatus:
    return ProcessStatus(**{**item, "state": ProcessState(str(item["state"]))})  # type: ignore[arg-type]


def by_name(processes: Iterable[ProcessStatus]) -> dict[str, ProcessStatus]:
    """Index processes by name."""
    return {process.name: process for process in processes}
