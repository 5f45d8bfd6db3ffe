"""`hiper env tasks`, `hiper env panels`, `hiper env panel make|check`."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hiper.cli.output import Format, FormatOption, emit, message
from hiper.errors import ConfigError, DataError

if TYPE_CHECKING:  # the environments are imported when a command runs, not when `hiper --help` is printed
    from hiper.envs.base import TaskSource
    from hiper.envs.panels import Panel

__all__ = ["Data", "Env", "add_to"]

Env = Annotated[str, typer.Option("--env", help="alfworld, webshop, or module:name of your own.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder or archive; default: synthetic tasks.")]
Name = Annotated[str, typer.Argument(help="Name of a shipped panel, or the path of a panel file.")]
Row = dict[str, object]

_panel = typer.Typer(help="Panels: make, check.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(tasks)
    app.command()(panels)
    app.add_typer(_panel, name="panel")


def tasks(
    env: Env = "alfworld",
    data: Data = None,
    split: Annotated[str | None, typer.Option("--split", help="Split to list; default: all.")] = None,
    panel: Annotated[str | None, typer.Option("--panel", help="List a panel's tasks, by name or path.")] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """List tasks: id, type, split, sha256; a panel's with seed and prices in JSON.

    Example: hiper env tasks --panel alfworld-2.1.2-valid_seen
    """
    if panel is not None and (data is not None or split is not None):
        raise ConfigError("--panel lists the panel's own tasks", "leave out --data and --split")
    rows = _rows_of_source(env, data, split) if panel is None else _rows_of_panel(panel)
    if form is Format.JSON:
        emit(list(rows), form, [])
        return
    for row in rows:  # one by one: hashing takes a while, and a reader may stop early
        sys.stdout.write(f"{row['id']}  {row['type']}  {row['split']}  {row['sha256']}\n")


def panels(form: FormatOption = Format.TEXT) -> None:
    """List the panels that are shipped. Example: hiper env panels."""
    from hiper.envs.panels import load_panel, shipped_panels

    found = [load_panel(name) for name in shipped_panels()]
    width = max(len(panel.name) for panel in found)
    lines = [
        f"{panel.name:{width}}  {len(panel.tasks):5} tasks{_training(panel):16}  sha256 {panel.sha256[:16]}"
        for panel in found
    ]
    emit([_summary(panel) for panel in found], form, lines)


@_panel.command()
def make(
    out: Annotated[Path, typer.Option("--out", help="File to write, .json or .json.gz.")],
    split: Annotated[str, typer.Option("--split", help="Split whose tasks it fixes.")],
    train: Annotated[str | None, typer.Option("--train", help="Split it says to train on.")] = None,
    env: Env = "alfworld",
    data: Data = None,
    name: Annotated[str, typer.Option("--name", help="Name of the panel; default: <env>-<version>-<split>.")] = "",
    max_steps: Annotated[int, typer.Option("--max-steps", min=1, help="Step limit it is meant for.")] = 50,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make a panel of a split. Example: hiper env panel make --split valid --out mine.json."""
    from hiper.durable import write_bytes
    from hiper.envs.panels import dump_panel, make_panel

    if not out.name.endswith((".json", ".json.gz")):
        raise ConfigError(f"{out}: a panel file ends with .json or .json.gz", "choose another --out")
    made = make_panel(_open(env, data), split, train=train, name=name, max_steps=max_steps)
    try:
        write_bytes(out, dump_panel(made, compress=out.suffix == ".gz"))
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror}", "choose another --out") from error
    emit(_summary(made), form, [f"{out}: {made.name}, {len(made.tasks)} tasks, sha256 {made.sha256}"])


@_panel.command()
def check(name: Name, data: Data = None, form: FormatOption = Format.TEXT) -> None:
    """Hold a panel against data. Example: hiper env panel check alfworld-2.1.2-valid_seen --data DIR."""
    from hiper.envs.panels import check_panel, load_panel

    panel = load_panel(name)
    match = check_panel(panel, _open(panel.env, data))
    by_content = f", {match.by_content} of them by content: their files were written again" if match.by_content else ""
    lines = [f"{panel.name} fits: {match.tasks} tasks{by_content}; sha256 {panel.sha256}"]
    emit({**asdict(match), "panel_sha256": panel.sha256}, form, lines)


def _open(env: str, data: Path | None) -> "TaskSource":
    from hiper.envs.registry import open_source

    return open_source(env, data)


def _rows_of_source(env: str, data: Path | None, split: str | None) -> Iterator[Row]:
    source = _open(env, data)
    known = source.splits()
    if split is not None and split not in known:
        raise DataError(f"there is no split '{split}'", f"splits here: {', '.join(known)}")
    for name in [split] if split else known:
        for pin in map(source.pin, source.ids(name)):
            yield {"id": pin.task_id, "type": pin.task_type, "split": pin.split, "sha256": pin.sha256}


def _rows_of_panel(name: str) -> Iterator[Row]:
    from hiper.envs.panels import load_panel

    panel = load_panel(name)
    message(f"{panel.name}: {len(panel.tasks)} tasks{_training(panel)}, sha256 {panel.sha256}")
    for task in (*panel.tasks, *panel.train):
        named = {"id": task.id, "type": task.type or "-", "split": task.split or "-", "sha256": task.sha256}
        yield {**named, "seed": task.seed, **task.figures}


def _summary(panel: "Panel") -> dict[str, object]:
    return {
        "panel": panel.name,
        "env": panel.env,
        "data": panel.data,
        "max_steps": panel.max_steps,
        "tasks": len(panel.tasks),
        "train": len(panel.train),
        "panel_sha256": panel.sha256,
    }


def _training(panel: "Panel") -> str:
    return f" + {len(panel.train)} to train on" if panel.train else ""
