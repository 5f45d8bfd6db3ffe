"""`hiper hae serve`."""

import typer

from hiper.cli import service_commands

__all__ = ["app"]

app = typer.Typer(help="Hierarchical advantage estimation.", no_args_is_help=True)


@app.command()
def serve(
    config: service_commands.Config, run_dir: service_commands.RunDir, name: service_commands.Name = "hae-0"
) -> None:
    """Compute advantages of batches. Example: hiper hae serve --config runs/r/config.json --run-dir runs/r."""
    service_commands.run("hae", config, run_dir, name)
