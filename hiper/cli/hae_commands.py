"""`hiper hae serve|compute`."""

from pathlib import Path
from typing import Annotated

import typer

from hiper.cli import service_commands
from hiper.cli.output import message

__all__ = ["app"]

app = typer.Typer(help="Hierarchical advantage estimation: the service, and files.", no_args_is_help=True)


@app.command()
def serve(
    config: service_commands.Config, run_dir: service_commands.RunDir, name: service_commands.Name = None
) -> None:
    """Compute advantages of batches. Example: hiper hae serve --config runs/r/config.json --run-dir runs/r."""
    service_commands.run("hae", config, run_dir, name)


@app.command()
def compute(
    input_file: Annotated[Path, typer.Option("--input", help="Cases file.")],
    output_file: Annotated[Path, typer.Option("--output", help="Where the results are written.")],
    mode: Annotated[str, typer.Option("--mode", help="compat, default or paper.")] = "compat",
) -> None:
    """Compute advantages, targets and masks of a file. Example: hiper hae compute --input c.json --output o.json."""
    from hiper.advantages.compute_cases import compute_file

    compute_file(input_file, output_file, mode)
    message(f"written: {output_file}")
