"""`hiper chaos`."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from hiper.cli.output import Format, emit, message
from hiper.cli.recipes import find_recipe
from hiper.cli.run_commands import collect_overrides
from hiper.errors import ExitCode

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(chaos)


def chaos(
    kills: Annotated[int, typer.Option("--kills", min=1, help="Processes to kill, in as many runs as it takes.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the nemesis.")] = 0,
    config: Annotated[str, typer.Option("--config", help="Run file, or the name of one in configs/.")] = "chaos",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Change a setting; may be repeated.")] = None,
    keep: Annotated[Path | None, typer.Option("--keep", help="Folder that keeps the runs; default: none.")] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="Trouble this run of `hiper up` instead of runs of its own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Kill, freeze and cut off the processes of a run, and check that nothing is lost or counted twice.

    Needs no vLLM: an engine without a model plays. Exit code 1 if the promise of docs/guarantees.md did not hold.

    Example: hiper chaos --kills 20 --seed 1
    """
    form = Format.JSON if as_json else Format.TEXT
    if run_dir is not None:
        from hiper.chaos.attach import trouble

        report, lines = asyncio.run(trouble(run_dir, kills, seed, message))
        emit(report, form, lines)
        return
    from hiper.chaos.experiment import ChaosRequest, run_chaos
    from hiper.chaos.plan import PlanLimits
    from hiper.config import load_config

    settings = load_config(find_recipe(config), overrides=collect_overrides(overrides))
    with tempfile.TemporaryDirectory(prefix="hiper-chaos-") as temporary:
        directory = keep or Path(temporary)
        found = asyncio.run(run_chaos(ChaosRequest(settings, directory, kills, seed, PlanLimits()), message))
    total = sum(found.kills.values())
    recovery = [
        f"  {name:14}{s['number']:4.0f} kills, ready again after {s['p50']:.1f} s (median), {s['max']:.1f} s (longest)"
        for name, s in found.recovery_s.items()
    ]
    verdict = "the promise held" if not found.faults else "THE PROMISE DID NOT HOLD"
    emit(
        found.as_json(),
        form,
        [
            f"{total} kills and {found.other_deeds} other deeds in {found.rounds} runs, seed {found.seed}: {verdict}",
            f"  {found.published} trajectories published, {found.lost} lost, {found.duplicated} counted twice, "
            f"conservation gap {found.conservation_gap}",
            f"  parameters {'identical to' if found.parameters_identical else 'DIFFERENT from'} the run left in peace",
            *recovery,
            *(f"  fault: {fault}" for fault in found.faults),
        ],
    )
    if found.faults:
        sys.exit(int(ExitCode.FAILURE))
