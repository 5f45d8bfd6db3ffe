"""`hiper up`: one run on one machine, from its settings to its report."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console, RenderableType
from rich.live import Live

from hiper import logs
from hiper.config import RunConfig
from hiper.durable import write_json
from hiper.embedded_broker import resolve_broker
from hiper.errors import ExitCode
from hiper.ports import PortBook
from hiper.report import RunFiles, build_report, summary_lines
from hiper.report.files import FINISHED_NAME
from hiper.report.picture import draw_learning_curve
from hiper.supervisor.lastlines import last_error
from hiper.supervisor.lock import RunLock
from hiper.supervisor.observer import Observation, Observer
from hiper.supervisor.plan import BrokerPlace, ProcessPlan, check_processes, plan_run, wished_scale
from hiper.supervisor.probe import broker_answers
from hiper.supervisor.run_directory import move_aside, open_run_directory
from hiper.supervisor.status import RunStatus, write_status
from hiper.supervisor.supervise import End, Outcome, Supervisor
from hiper.supervisor.table import CONTROL_ADDRESS
from hiper.supervisor.targets import write_targets
from hiper.supervisor.view import dashboard, plain_line

__all__ = ["UpRequest", "run_up"]

_REDRAW_S = 2.0
_PLAIN_S = 10.0
_FOLLOW_S = 1.0


@dataclass(frozen=True, slots=True)
class UpRequest:
    """What `hiper up` was asked for."""

    config: RunConfig
    run_dir: Path
    fresh: bool
    """Move an earlier run in the directory aside instead of going on with it."""
    live: bool
    """Draw a dashboard instead of printing lines."""


def run_up(request: UpRequest) -> int:
    """Run to the end and return the exit code: 0 only if the run is complete and the conservation law holds."""
    if request.live:
        # The dashboard owns the terminal; events go to a file.
        logs.configure("supervisor", run=request.config.run, level=logs.ERROR)
    else:
        logs.configure("supervisor", run=request.config.run, level=logs.WARNING)
    console = Console(stderr=True)
    check_processes(request.config)  # before a run directory takes these settings for good
    if request.fresh:
        aside = move_aside(request.run_dir)
        if aside is not None:
            console.print(f"an earlier run was moved to {aside}")
    config = _with_own_model(request.config, request.run_dir)
    with RunLock(request.run_dir):
        open_run_directory(request.run_dir, config)
        if RunFiles(request.run_dir).stopped:
            (request.run_dir / FINISHED_NAME).unlink()  # whoever starts a stopped run wants it to go on
        outcome = asyncio.run(_Up(config, request.run_dir, console, live=request.live).run())
        return _conclude(request.run_dir, outcome, console)


def _with_own_model(config: RunConfig, run_dir: Path) -> RunConfig:
    """Point the run at the model its warm start makes."""
    if not config.warmstart.enabled:
        return config
    model = config.model.model_copy(update={"path": str((run_dir / "model").resolve()), "critic_path": None})
    return config.model_copy(update={"model": model})


class _Up:
    def __init__(self, config: RunConfig, run_dir: Path, console: Console, *, live: bool) -> None:
        self._config = config
        self._run_dir = run_dir
        self._console = console
        self._live = live
        self._started_at = time.time()
        self._ended_at: float | None = None
        self._phase, self._error = "running", ""

    async def run(self) -> Outcome:
        """Supervise, watch, and measure the pipeline at rest."""
        launch = resolve_broker(self._config.broker, self._run_dir / "broker")
        url = launch.url.get_secret_value()
        place = BrokerPlace(url, launch.argv, launch.env, answers=lambda: broker_answers(url))
        self._console.print(
            f"run directory {self._run_dir}, broker {launch.kind} {launch.version}".rstrip(), highlight=False
        )
        ports = PortBook()

        def replan(config: RunConfig) -> Sequence[ProcessPlan]:
            return plan_run(config, self._run_dir, place, ports)

        plans = replan(self._config)
        self._announce(plans)
        broker = self._config.broker.model_copy(update={"url": SecretStr(url)})
        observer = Observer(self._config.model_copy(update={"broker": broker}), self._run_dir)
        self._supervisor = Supervisor(
            plans,
            self._config.supervisor,
            finished=(self._run_dir / FINISHED_NAME).exists,
            on_change=self._write_status,
            at_rest=observer.save,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._supervisor.stop)
        beside = [asyncio.create_task(self._watch(observer)), asyncio.create_task(self._follow(observer, replan))]
        try:
            outcome = await self._supervisor.run()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await observer.aclose()
            write_targets(self._run_dir, self._config.run, ())
        self._phase, self._error, self._ended_at = outcome.end.value, outcome.error, time.time()
        self._write_status()
        return outcome

    def _announce(self, plans: Sequence[ProcessPlan]) -> None:
        """Say where the run is measured and steered."""
        write_targets(self._run_dir, self._config.run, plans)
        for plan in plans:
            if plan.service == "control":
                self._console.print(
                    f"control at http://{plan.environment[CONTROL_ADDRESS]}/api/v1/run", highlight=False
                )

    async def _follow(self, observer: Observer, replan: Callable[[RunConfig], Sequence[ProcessPlan]]) -> None:
        """Do what control wishes for the numbers of processes."""
        config = self._config
        while True:
            await asyncio.sleep(_FOLLOW_S)
            scale = wished_scale(config.supervisor.scale, await observer.wishes())
            for service in [name for name in scale if scale[name] != config.supervisor.scale.get(name)]:
                settings = config.supervisor.model_copy(update={"scale": scale})
                config = config.model_copy(update={"supervisor": settings})
                self._supervisor.resize(service, [plan for plan in replan(config) if plan.service == service])
                write_targets(self._run_dir, self._config.run, self._supervisor.plans)

    def _write_status(self) -> None:
        phase = "draining" if self._supervisor.draining and self._phase == "running" else self._phase
        write_status(
            self._run_dir,
            RunStatus(
                run=self._config.run,
                supervisor_pid=os.getpid(),
                started_at=self._started_at,
                phase=phase,
                error=self._error,
                processes=self._supervisor.processes(),
                ended_at=self._ended_at,
            ),
        )

    async def _watch(self, observer: Observer) -> None:
        if self._live:
            with Live(console=self._console, auto_refresh=False, transient=True) as live:
                while True:
                    live.update(self._dashboard(await observer.look()), refresh=True)
                    await asyncio.sleep(_REDRAW_S)
        while True:
            seen = await observer.look()
            line = plain_line(self._config, seen, self._supervisor.processes(), self._started_at)
            self._console.print(line, highlight=False, soft_wrap=True)
            await asyncio.sleep(_PLAIN_S)

    def _dashboard(self, seen: Observation) -> RenderableType:
        processes = self._supervisor.processes()
        restarted = [process for process in processes if process.restarts]
        newest = max(restarted, key=lambda process: process.started_at or 0.0, default=None)
        error = f"{newest.name}: {last_error(self._run_dir / 'logs' / f'{newest.name}.log')}" if newest else ""
        return dashboard(self._config, seen, processes, self._started_at, error)


def _conclude(run_dir: Path, outcome: Outcome, console: Console) -> int:
    files = RunFiles(run_dir)
    report = build_report(files)
    write_json(run_dir / "report.json", report)
    drawn = draw_learning_curve(files, run_dir / "learning_curve.png")
    console.print()
    for line in summary_lines(report):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(
        f"report: {run_dir / 'report.json'}" + (f", picture: {run_dir / 'learning_curve.png'}" if drawn else "")
    )
    if outcome.end is End.FAILED:
        for line in outcome.lines:
            console.print(f"  {line}", style="dim", highlight=False, markup=False)
        print_error(f"{outcome.error} — see {run_dir / 'logs'}")
        return int(ExitCode.FAILURE)
    if outcome.end is End.STOPPED:
        return int(ExitCode.INTERRUPTED)
    return int(ExitCode.OK) if report["conservation_gap"] == 0 else int(ExitCode.FAILURE)


def print_error(message: str) -> None:
    """Write one error line for the user."""
    sys.stderr.write(f"error: {message}\n")
