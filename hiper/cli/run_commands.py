"""`hiper demo`, `up`, `status`, `report`, `warmstart`, `doctor`, `health`."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from hiper.cli.output import Format, FormatOption, emit, message
from hiper.cli.packages import packages_for
from hiper.cli.recipes import find_recipe
from hiper.errors import ConfigError, DataError, ExitCode, HiperError

__all__ = ["add_to", "collect_overrides"]

RunDir = Annotated[Path, typer.Option("--run-dir", help="Folder of the run.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting: --set learner.iterations=10. May be repeated.")
]
Data = Annotated[Path | None, typer.Option("--data", help="Real games: a folder or the archive. Default: synthetic.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")]
NoUi = Annotated[bool, typer.Option("--no-ui", help="Print lines instead of drawing a dashboard.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (demo, up, status, report, warmstart, doctor, health):
        app.command()(command)


def demo(
    run_dir: RunDir = Path("runs/demo"),
    data: Data = None,
    seed: Seed = None,
    overrides: Overrides = None,
    no_ui: NoUi = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted demo.")] = False,
) -> None:
    """Train a tiny agent on this machine, all parts real. Example: hiper demo --seed 1."""
    recipe = "demo" if data is None else "demo-alfworld"
    _up(recipe, run_dir, collect_overrides(overrides, data, seed, None), fresh=not resume, no_ui=no_ui)


def up(
    config: Annotated[str, typer.Option("--config", help="Run file, or the name of one in configs/.")],
    run_dir: Annotated[Path | None, typer.Option("--run-dir", help="Folder of the run; default runs/<run>.")] = None,
    data: Data = None,
    seed: Seed = None,
    overrides: Overrides = None,
    scale: Annotated[list[str] | None, typer.Option("--scale", help="Processes: --scale rollout=2.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over; an earlier run is moved aside.")] = False,
    no_ui: NoUi = False,
) -> None:
    """Start a broker and every service, and keep them until the run is complete. Example: hiper up --config demo."""
    _up(config, run_dir, collect_overrides(overrides, data, seed, scale), fresh=fresh, no_ui=no_ui)


def status(run_dir: RunDir = Path("runs/demo"), form: FormatOption = Format.TEXT) -> None:
    """Show the processes of a run. Example: hiper status --run-dir runs/demo."""
    from dataclasses import asdict

    from hiper.report import RunFiles
    from hiper.supervisor.lock import holder
    from hiper.supervisor.status import read_status

    found = read_status(run_dir)
    alive = holder(run_dir) is not None
    metrics = RunFiles(run_dir).metrics()
    version = metrics[-1]["version"] if metrics else 0
    phase = found.phase if alive or found.phase not in ("running", "draining") else "killed"
    lines = [f"run {found.run}: {phase}, policy version {version}" + (f", {found.error}" if found.error else "")]
    for process in found.processes:
        state = process.state.value if alive else "stopped"
        lines.append(f"  {process.name:14}{state:12}restarts {process.restarts:<4}{process.detail}")
    emit({**asdict(found), "phase": phase, "policy_version": version}, form, lines)


def report(
    run_dir: Annotated[Path, typer.Argument(help="Folder of the run.")], form: FormatOption = Format.TEXT
) -> None:
    """Make a run's report again and print it. Example: hiper report runs/demo."""
    from hiper.durable import write_json
    from hiper.report import RunFiles, build_report, summary_lines
    from hiper.report.picture import draw_learning_curve

    files = RunFiles(run_dir)
    if not files.tree("config.json"):
        raise DataError(f"{run_dir} holds no run", "give the folder that `hiper up` printed")
    made: dict[str, Any] = dict(build_report(files))
    write_json(run_dir / "report.json", made)
    draw_learning_curve(files, run_dir / "learning_curve.png")
    emit(made, form, summary_lines(made))


def warmstart(
    config: Annotated[str, typer.Option("--config", help="Run file, or the name of one in configs/.")],
    output: Annotated[Path, typer.Option("--output", help="Folder the model is written to.")],
    overrides: Overrides = None,
    data: Data = None,
    seed: Seed = None,
) -> None:
    """Make a tiny model and train it on demonstrations. Example: hiper warmstart --config demo --output model."""
    from hiper import logs
    from hiper.config import load_config

    logs.configure("warmstart")
    settings = load_config(find_recipe(config), overrides=collect_overrides(overrides, data, seed, None))
    with packages_for("the warm start", "learner"):
        from services.learner.warmstart import run_warmstart
    run_warmstart(settings, output)


def doctor(form: FormatOption = Format.TEXT) -> None:
    """Look at what this machine has for a run; every finding with its fix. Example: hiper doctor."""
    from hiper.cli.doctor import examine

    findings = examine()
    lines = [f"{'ok ' if f.ok else 'NO '} {f.name:18}{f.found}" + ("" if f.ok else f" — {f.fix}") for f in findings]
    emit([{"name": f.name, "ok": f.ok, "found": f.found, "fix": f.fix} for f in findings], form, lines)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(int(ExitCode.DEPENDENCY))


def health(http: Annotated[str, typer.Option("--http", help="host:port of a service's HTTP server.")]) -> None:
    """Exit 0 if a service is ready: the health check of containers. Example: hiper health --http 127.0.0.1:9000."""
    import asyncio

    from hiper.service.asking import http_get

    code, body = asyncio.run(http_get(http, "/readyz"))
    if code != 200:
        reason = body.decode(errors="replace") or "no answer"
        raise HiperError(f"{http} is not ready: {reason}", "see its log")
    message("ready")


def _up(config: str, run_dir: Path | None, overrides: dict[str, object], *, fresh: bool, no_ui: bool) -> None:
    from hiper.config import load_config
    from hiper.supervisor.up import UpRequest, run_up

    settings = load_config(find_recipe(config), overrides=overrides)
    _check_data(settings.env.data)
    live = sys.stderr.isatty() and not no_ui and not os.environ.get("HIPER_NO_UI")
    where = run_dir or Path("runs") / settings.run
    raise typer.Exit(run_up(UpRequest(settings, where, fresh=fresh, live=live)))


def _check_data(data: Path | None) -> None:
    if data is not None and not data.exists():
        raise DataError(f"there is no game data at {data}", "give the folder alfworld-download filled, or the archive")


def collect_overrides(
    overrides: list[str] | None,
    data: Path | None = None,
    seed: int | None = None,
    scale: list[str] | None = None,
) -> dict[str, object]:
    """Gather what the command line says about settings, by dotted key."""
    collected: dict[str, object] = {}
    for text in overrides or []:
        key, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"--set {text}: no '='", "write --set learner.iterations=10")
        collected[key] = yaml.safe_load(value)
    for text in scale or []:
        key, _, value = text.partition("=")
        if not value.isdigit():
            raise ConfigError(f"--scale {text}: not a number of processes", "write --scale rollout=2")
        collected[f"supervisor.scale.{key}"] = int(value)
    if data is not None:
        collected["env.data"] = str(data.resolve())
    if seed is not None:
        collected["seed"] = seed
    return collected
