"""`hiper metrics list|docs|dashboards|prometheus`: what is measured, and what to look at it with."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from hiper.cli.output import Format, FormatOption, emit, message
from hiper.errors import DataError, RunStateError

__all__ = ["app"]

app = typer.Typer(help="Metrics: list, docs, dashboards, prometheus.", no_args_is_help=True)


@app.command("list")
def list_metrics(form: FormatOption = Format.TEXT) -> None:
    """List every metric. Example: hiper metrics list -o json."""
    from hiper.metrics import CATALOGUE

    specs = CATALOGUE.values()
    lines = [f"hiper_{spec.name:44}{spec.kind:11}{','.join(spec.labels):26}{spec.help}" for spec in specs]
    tree = [
        {"name": f"hiper_{spec.name}", "kind": spec.kind.value, "labels": spec.labels, "help": spec.help}
        for spec in specs
    ]
    emit(tree, form, lines)


@app.command()
def docs() -> None:
    """Print docs/metrics.md. Example: hiper metrics docs > docs/metrics.md."""
    from hiper.metrics.page import metrics_page

    sys.stdout.write(metrics_page())


@app.command()
def dashboards(
    output: Annotated[Path, typer.Option("--output", help="Folder the JSON files are written to.")],
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a file differs.")] = False,
) -> None:
    """Write the Grafana dashboards. Example: hiper metrics dashboards --output deploy/grafana/dashboards."""
    from hiper.metrics.dashboards import dashboard_files

    for name, text in dashboard_files().items():
        path = output / name
        if not check:
            output.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            raise DataError(f"{path} is not what the code makes", "run `make metrics`")
    message(f"{len(dashboard_files())} dashboards {'checked' if check else 'written'} in {output}")


@app.command()
def prometheus(
    run_dir: Annotated[Path, typer.Option("--run-dir", help="Folder of a run that is up.")] = Path("runs/demo"),
    rules: Annotated[
        Path | None, typer.Option("--rules", help="Folder with alert rules, e.g. deploy/prometheus/alerts.")
    ] = None,
    interval_s: Annotated[int, typer.Option("--interval-s", min=1, help="Seconds between two scrapes.")] = 5,
) -> None:
    """Print a Prometheus configuration that scrapes a run of this machine.

    Example: hiper metrics prometheus --run-dir runs/demo > prometheus.yml
    """
    import yaml

    from hiper.supervisor.targets import TARGETS_NAME

    targets = (run_dir / TARGETS_NAME).resolve()
    if not targets.exists():
        raise RunStateError(f"{run_dir} holds no run that is up", "start one with `hiper up`, or give --run-dir")
    every = f"{interval_s}s"
    tree = {
        "global": {"scrape_interval": every, "evaluation_interval": every},
        "rule_files": [f"{rules.resolve()}/*.yml"] if rules else [],
        "scrape_configs": [
            {"job_name": "hiper", "file_sd_configs": [{"files": [str(targets)], "refresh_interval": every}]}
        ],
    }
    sys.stdout.write(yaml.safe_dump(tree, sort_keys=False))
