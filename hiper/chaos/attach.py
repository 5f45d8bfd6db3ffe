"""Troubling a run of `hiper up` that goes on: kills and freezes, no network faults, and the law at the end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hiper.chaos.nemesis import Nemesis
from hiper.chaos.plan import PlanLimits, deeds
from hiper.chaos.victims import RunProcess
from hiper.errors import RunStateError
from hiper.supervisor.lock import holder
from hiper.supervisor.status import ProcessState, read_status

__all__ = ["trouble"]

_ENDED = (ProcessState.DONE, ProcessState.STOPPED)


async def trouble(run_dir: Path, kills: int, seed: int, say: Callable[[str], None]) -> tuple[dict[str, Any], list[str]]:
    """Kill `kills` processes of the run in `run_dir`; return what was done, as JSON values and as lines.

    Whether the promise held is said by the run itself: its conservation gap is on its dashboard and its exit code.
    Raises `RunStateError` if no run goes on there.
    """
    if holder(run_dir) is None:
        raise RunStateError(f"no run goes on in {run_dir}", "start one with `hiper up`, or leave out --run-dir")
    names = [process.name for process in read_status(run_dir).processes if process.state not in _ENDED]
    nemesis = Nemesis([RunProcess(run_dir, name) for name in names], lambda: _over(run_dir), say)
    done = await nemesis.rage(deeds(seed, names, PlanLimits(), network=False), kills)
    history = nemesis.history
    lines = [f"{done} kills, seed {seed}; the run's own report says whether every trajectory is accounted for"]
    lines += [
        f"  {name:14}{history.kills[name]} kills, ready again after {max(seconds):.1f} s at most"
        for name, seconds in sorted(history.recoveries_s.items())
    ]
    return {"seed": seed, "kills": history.kills, "deeds": history.done, "recoveries_s": history.recoveries_s}, lines


def _over(run_dir: Path) -> bool:
    return holder(run_dir) is None or read_status(run_dir).phase != "running"
