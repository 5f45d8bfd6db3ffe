"""`hiper bench loop`: policy updates an hour when the learner waits for its rollout, and when both work at once.

Both are whole runs of `hiper up` on the same synthetic games from the same warm-started model, with `max_staleness` 0
(synchronous) and 1 (asynchronous) and nothing else different. The learner has one core and everything else of the run,
vLLM's own process included, another. The first updates and the start are not counted. The learning rate is so small
that the policy, and with it the work of an update, stays what it was.

Two cores should give about the time of a synchronous update over the CPU time of the busier core in it; the report
states that beside what was reached, which may be more: who waits uses some CPU time as well.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from hiper.bench.pace import ASYNCHRONOUS, SYNCHRONOUS, CpuTimes, Pace, busy_machine, figures, pace_of
from hiper.bench.timing import BenchOptions, Report, Say
from hiper.errors import DependencyError, ExitCode, RunStateError
from hiper.report import RunFiles
from hiper.supervisor.children import end, tied
from hiper.supervisor.lastlines import last_error
from hiper.supervisor.plan import child_environment
from hiper.supervisor.status import read_status
from hiper.supervisor.table import BROKER, SERVICES
from hiper.supervisor.workers import usable_processors

__all__ = ["Cores", "play", "run", "settings", "two_cores"]

_UPDATES, _WARM_UP = 8, 2
_MODES = {SYNCHRONOUS: 0, ASYNCHRONOUS: 1}
"""Name to `max_staleness`."""
_SAMPLE_S = 0.5
_END_S = 30.0
"""How long a run may take to end its processes before they are killed."""
_MODEL = {"hidden_size": 64, "layers": 2, "heads": 2, "intermediate_size": 192}
_EPISODES, _SLOTS, _TURNS, _ROWS, _EPOCHS = 64, 32, 12, 256, 2


@dataclass(frozen=True, slots=True)
class Cores:
    """Who works where."""

    learner: int
    others: int

    def settings(self) -> dict[str, list[int]]:
        """These as `supervisor.cores`."""
        services = [BROKER, *(spec.name for spec in SERVICES)]
        return {name: [self.learner if name == "learner" else self.others] for name in services}


def run(options: BenchOptions, say: Say) -> Report:
    """Measure. Needs two cores, vLLM and torch. `options.scale` shrinks the number of updates."""
    cores = two_cores(sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else [], usable_processors())
    for package in ("torch", "vllm"):
        if find_spec(package) is None:
            raise DependencyError(f"hiper bench loop needs {package}", "see `hiper doctor`")
    updates = options.times(_UPDATES, least=2)
    paces: dict[str, list[Pace]] = {name: [] for name in _MODES}
    with tempfile.TemporaryDirectory(prefix="hiper-bench-") as folder:
        for repeat in range(options.repeats):
            # Whatever else the machine does meets each of the two first as often as second.
            for name in list(_MODES)[:: -1 if repeat % 2 else 1]:
                say(f"{name}: {repeat + 1} of {options.repeats}")
                tree = settings(_MODES[name], updates, options.seed, cores)
                paces[name].append(play(name, tree, cores, Path(folder, f"{name}-{repeat}")))
    report = Report("loop", {"source": "synthetic", "seed": options.seed}, options.repeats)
    report.sizes = _sizes(paces[SYNCHRONOUS], updates, cores)
    report.figures = figures(paces)
    report.notes = busy_machine(paces)
    if options.data is not None:
        report.notes.append("--data was not used: the games are synthetic")
    return report


def two_cores(usable: Sequence[int], processors: int) -> Cores:
    """Choose a core for the learner and one for the others of `usable`, of which this container gets `processors`.

    First and last: neighbours may be two threads of one core. Raises `DependencyError` if there is one only.
    """
    if min(len(usable), processors) < 2:
        raise DependencyError(
            "hiper bench loop keeps the learner to one core and the others to another, and two are not to be had here",
            "run it on Linux, on a machine or in a container with two cores",
        )
    return Cores(learner=usable[-1], others=usable[0])


def settings(staleness: int, updates: int, seed: int, cores: Cores) -> dict[str, Any]:
    """The settings of one run."""
    return {
        "run": "bench-loop",
        "seed": seed,
        "env": {"synthetic_preset": "demo", "synthetic_train": 400, "synthetic_valid": 8, "max_steps": _TURNS},
        "rollout": {
            "prompt": {"style": "compact", "history_turns": 1},
            "concurrent_episodes": _SLOTS,
            "enforce_eager": True,
            "dtype": "float32",
            "cpu_threads": 1,
            "weights_poll_s": 0.05,
            "sampling": {"max_response_tokens": 24, "max_prompt_tokens": 160},
        },
        "learner": {
            "tasks_per_batch": _EPISODES,
            "iterations": _WARM_UP + updates,
            "max_staleness": staleness,
            "dtype": "float32",
            "threads": 1,
            # As many passes as make the learner's work of an update about as much as the rollout's.
            "actor": {"lr": 1e-7, "minibatch_rows": _ROWS, "epochs": _EPOCHS},
            "critic": {"lr": 1e-5, "minibatch_rows": _ROWS, "epochs": _EPOCHS},
        },
        # Only before the first update and after the last one.
        "evaluation": {"split": "valid", "every": 0},
        "warmstart": {"enabled": True, "episodes": 300, "steps": 150, **_MODEL},
        "supervisor": {"cores": cores.settings(), "max_restarts": 1, "drain_timeout_s": 5.0},
    }


def play(name: str, tree: Mapping[str, Any], cores: Cores, folder: Path) -> Pace:
    """Run `hiper up` with the settings `tree`, which name `cores`, in `folder`, to its end.

    Raises `RunStateError` if it fails or had to start a process again. No process outlives the call.
    """
    folder.mkdir()
    config, log, run_dir = folder / "settings.yaml", folder / "up.log", folder / "run"
    config.write_text(json.dumps(tree))
    samples: list[CpuTimes] = []
    with _up(config, run_dir, log) as process:
        while process.poll() is None:
            with suppress(RunStateError):  # it has not begun
                samples.append(_sample(run_dir, cores))
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SAMPLE_S)
    if process.returncode == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if process.returncode:
        raise RunStateError(f"the {name} run failed: {_reason(run_dir, log)}", "see `hiper doctor`")
    again = [process.name for process in read_status(run_dir).processes if process.restarts]
    if again:
        raise RunStateError(f"the {name} run started {', '.join(again)} again: its figures mean nothing", "try again")
    return pace_of(RunFiles(run_dir).metrics(), samples, _WARM_UP)


def _reason(run_dir: Path, log: Path) -> str:
    """Why a run failed: what it wrote down, or the last it said where it did not come that far."""
    with suppress(RunStateError):
        return read_status(run_dir).error
    return last_error(log).removeprefix("error: ")


@contextmanager
def _up(config: Path, run_dir: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`hiper up`, ended in good order when the block is left and killed should this process be."""
    hiper = (sys.executable, "-P", "-m", "hiper")
    command = tied((*hiper, "up", "--no-ui", "--config", str(config), "--run-dir", str(run_dir)))
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            command,
            env=child_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process, _END_S)


def _sample(run_dir: Path, cores: Cores) -> CpuTimes:
    """What the processes of a run have used until now; those that have just ended count for nothing."""
    seconds = {True: 0.0, False: 0.0}
    for process in read_status(run_dir).processes:
        with suppress(psutil.NoSuchProcess):
            if process.pid is not None:
                seconds[process.service == "learner"] += _cpu_seconds(psutil.Process(process.pid))
    each = psutil.cpu_times(percpu=True)
    busy = sum(sum(each[core]) - each[core].idle - each[core].iowait for core in (cores.learner, cores.others))
    return CpuTimes(time.time(), learner=seconds[True], others=seconds[False], cores=busy)


def _cpu_seconds(process: psutil.Process) -> float:
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def _sizes(paces: Sequence[Pace], updates: int, cores: Cores) -> dict[str, object]:
    """Work of one update, from the synchronous runs, and what it was done on."""
    number = len(paces)
    return {
        "updates": updates,
        "updates_before_counting": _WARM_UP,
        "model": _MODEL,
        "episodes_of_an_update": _EPISODES,
        "turns_of_an_update": round(sum(pace.turns for pace in paces) / number),
        "tokens_of_an_update": round(sum(pace.tokens for pace in paces) / number),
        "episodes_at_once": _SLOTS,
        "epochs": _EPOCHS,
        "cpu_s_of_an_update": {
            "learner": round(sum(pace.learner_cpu for pace in paces) / number, 2),
            "others": round(sum(pace.others_cpu for pace in paces) / number, 2),
        },
        "cores": {"learner": cores.learner, "others": cores.others},
    }
