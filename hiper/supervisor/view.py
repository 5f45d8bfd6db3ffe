"""The live view of a run: a dashboard on a terminal, one line now and then elsewhere."""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hiper.config import RunConfig
from hiper.supervisor.observer import Observation
from hiper.supervisor.status import ProcessState, ProcessStatus

__all__ = ["dashboard", "plain_line", "sparkline"]

_BARS = "▁▂▃▄▅▆▇█"
_COLOURS = {
    ProcessState.READY: "green",
    ProcessState.DONE: "green",
    ProcessState.BACKOFF: "red",
    ProcessState.UNREADY: "yellow",
}
_SPARK = 40


def sparkline(shares: Sequence[float]) -> str:
    """Draw the last values, each a share in [0, 1], as bars."""
    return "".join(_BARS[min(7, max(0, int(share * 8)))] for share in shares[-_SPARK:])


def plain_line(config: RunConfig, seen: Observation, processes: Sequence[ProcessStatus], started_at: float) -> str:
    """Say in one line how the run stands."""
    version = seen.metrics[-1]["version"] if seen.metrics else 0
    parts = [f"{_clock(time.time() - started_at)}  version {version}/{config.learner.iterations}"]
    if seen.metrics:
        parts.append(f"train {seen.metrics[-1]['success']:.0%}")
    if seen.evaluations:
        last = seen.evaluations[-1]
        parts.append(f"panel {last['success']:.0%} at version {last['version']}")
    if seen.pipeline is not None:
        counts = seen.pipeline.counts
        parts.append(f"published {counts.published}, applied {counts.applied}, in flight {seen.pipeline.in_flight}")
    waiting = [f"{p.name} {p.state.value}" for p in processes if p.state not in (ProcessState.READY, ProcessState.DONE)]
    if waiting:
        parts.append("; ".join(waiting))
    return " | ".join(parts)


def dashboard(
    config: RunConfig, seen: Observation, processes: Sequence[ProcessStatus], started_at: float, last_error: str
) -> RenderableType:
    """Draw the run."""
    left = _progress(config, seen, started_at)
    parts: list[RenderableType] = [left, _pipeline(seen), _processes(processes)]
    if last_error:
        parts.append(Text(f"last error: {last_error}", style="red", overflow="ellipsis", no_wrap=True))
    return Panel(Group(*parts), title=f"hiper · run {config.run}", border_style="blue")


def _progress(config: RunConfig, seen: Observation, started_at: float) -> Table:
    table = Table.grid(padding=(0, 2))
    total, version = config.learner.iterations, seen.metrics[-1]["version"] if seen.metrics else 0
    table.add_row("elapsed", _clock(time.time() - started_at))
    table.add_row("policy version", f"{version} of {total}", ProgressBar(total=total, completed=version, width=40))
    if seen.metrics:
        last = seen.metrics[-1]
        table.add_row("training success", f"{last['success']:.0%}", sparkline([m["success"] for m in seen.metrics]))
        table.add_row("turns", f"{last['turns']:.0f}", f"{_rate(seen.metrics, 'response_tokens'):.0f} sampled tokens/s")
    if seen.evaluations:
        row = " → ".join(f"{e['success']:.0%}" for e in seen.evaluations[-8:])
        table.add_row("panel success", f"{seen.evaluations[-1]['success']:.0%}", row)
    return table


def _pipeline(seen: Observation) -> RenderableType:
    state = seen.pipeline
    if state is None:
        return Text("pipeline: waiting for the broker", style="yellow")
    counts = state.counts
    queues = "  ".join(f"{stream.value} {queue.length}" for stream, queue in state.streams.items())
    dropped = ", ".join(f"{reason} {number}" for reason, number in counts.dropped.items()) or "none"
    law = Text("law holds", style="green") if state.gap == 0 else Text(f"GAP {state.gap}", style="bold red")
    table = Table.grid(padding=(0, 2))
    table.add_row("queues", queues)
    table.add_row(
        "trajectories",
        Text.assemble(
            f"published {counts.published} = applied {counts.applied} + in flight {state.in_flight} "
            f"+ dropped ({dropped}) + dead letters {counts.dead_lettered}   ",
            law,
        ),
    )
    return table


def _processes(processes: Sequence[ProcessStatus]) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=True, header_style="dim")
    for name in ("process", "state", "restarts", ""):
        table.add_column(name)
    for process in processes:
        state = Text(process.state.value, style=_COLOURS.get(process.state, "cyan"))
        table.add_row(process.name, state, str(process.restarts or ""), Text(process.detail, style="dim"))
    return table


def _rate(metrics: list[dict[str, Any]], key: str) -> float:
    if len(metrics) < 2:
        return 0.0
    seconds = metrics[-1]["time"] - metrics[-2]["time"]
    return float(metrics[-1].get(key, 0.0)) / seconds if seconds > 0 else 0.0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
