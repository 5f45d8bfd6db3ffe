"""`hiper run show|pause|resume|stop|evaluate`: wishes of a run that is up, carried out by its learner."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from hiper.cli.output import Format, FormatOption, emit, message
from hiper.cli.run_broker import ask_broker

if TYPE_CHECKING:
    from hiper.streams import RunControl

__all__ = ["app"]

app = typer.Typer(help="Steer a run that is up: show, pause, resume, stop, evaluate.", no_args_is_help=True)
T = TypeVar("T")
RunDir = Annotated[Path, typer.Option("--run-dir", help="Folder of a run that is up.")]
_DEMO = Path("runs/demo")


@app.command()
def show(run_dir: RunDir = _DEMO, form: FormatOption = Format.TEXT) -> None:
    """Show what is in force and what is wished. Example: hiper run show --run-dir runs/demo."""
    record = _with_control(run_dir, lambda control: control.read())
    wishes = {"pause": record.paused, "stop": record.stop_asked, "evaluation": record.evaluation_asked}
    asked = [name for name, is_open in wishes.items() if is_open]
    lines = [f"{record.phase}, policy version {record.policy_version}", f"wished: {', '.join(asked) or 'nothing'}"]
    emit(asdict(record), form, lines)


@app.command()
def pause(run_dir: RunDir = _DEMO) -> None:
    """Issue and apply nothing from the next iteration on. Example: hiper run pause --run-dir runs/demo."""
    _with_control(run_dir, lambda control: control.pause(True))
    message("it pauses after this iteration; `hiper run resume` goes on")


@app.command()
def resume(run_dir: RunDir = _DEMO) -> None:
    """Go on after a pause. Example: hiper run resume --run-dir runs/demo."""
    _with_control(run_dir, lambda control: control.pause(False))
    message("it goes on")


@app.command()
def stop(run_dir: RunDir = _DEMO) -> None:
    """End the run at its next version. Example: hiper run stop --run-dir runs/demo."""
    _with_control(run_dir, lambda control: control.ask_stop())
    message(f"it stops after this iteration; `hiper up --run-dir {run_dir}` goes on with it")


@app.command()
def evaluate(run_dir: RunDir = _DEMO) -> None:
    """Evaluate the next version. Example: hiper run evaluate --run-dir runs/demo."""
    _with_control(run_dir, lambda control: control.ask_evaluation())
    message("the next version will be evaluated")


def _with_control(run_dir: Path, ask: "Callable[[RunControl], Awaitable[T]]") -> T:
    from hiper.streams import RunControl

    return ask_broker(run_dir, lambda broker: ask(RunControl(broker)))
