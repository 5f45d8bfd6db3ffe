"""`hiper export`: a trained policy as a folder in Hugging Face format."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hiper.cli.output import Format, FormatOption, emit

__all__ = ["export"]


def export(
    run_dir: Annotated[Path, typer.Argument(help="Folder of the run.")],
    output: Annotated[Path, typer.Argument(help="Folder to make.")],
    version: Annotated[int | None, typer.Option("--version", help="Policy version; default: the newest.")] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Write a policy with its tokenizer and a model card. Example: hiper export runs/demo exported."""
    from hiper.report.export import export_model

    made = export_model(run_dir, output, version)
    line = f"version {made.version} of {run_dir} written to {made.directory} ({made.bytes / 2**20:.1f} MiB)"
    emit(asdict(made), form, [line])
