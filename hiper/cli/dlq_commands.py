"""`hiper dlq list|show|replay|purge`: the dead letters of a run."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from hiper.cli.output import Format, FormatOption, emit, message
from hiper.cli.run_broker import ask_broker
from hiper.errors import DataError

__all__ = ["app"]

app = typer.Typer(help="Dead letters of a run: list, show, replay, purge.", no_args_is_help=True)

T = TypeVar("T")
RunDir = Annotated[Path, typer.Option("--run-dir", help="Folder of a run that is up.")]
EntryId = Annotated[str, typer.Argument(help="Id of the dead letter, as listed.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command("list")
def list_letters(run_dir: RunDir = Path("runs/demo"), form: FormatOption = Format.TEXT) -> None:
    """List dead letters. Example: hiper dlq list --run-dir runs/demo."""
    letters = _with_letters(run_dir, lambda found: found.list())
    lines = [f"{letter.entry_id}  {letter.stream}  {letter.error}" for letter in letters] or ["no dead letters"]
    emit([_tree(letter) for letter in letters], form, lines)


@app.command()
def show(entry_id: EntryId, run_dir: RunDir = Path("runs/demo")) -> None:
    """Show one dead letter. Example: hiper dlq show 1700000000000-0."""
    letter = _with_letters(run_dir, lambda found: found.show(entry_id))
    emit(_tree(letter), Format.JSON, [])


@app.command()
def replay(entry_id: EntryId, run_dir: RunDir = Path("runs/demo")) -> None:
    """Put a dead letter back where it came from. Example: hiper dlq replay 1700000000000-0."""
    if not _with_letters(run_dir, lambda found: found.replay(entry_id)):
        raise DataError(f"there is no dead letter {entry_id}", "see `hiper dlq list`")
    message(f"replayed {entry_id}")


@app.command()
def purge(entry_id: EntryId, run_dir: RunDir = Path("runs/demo"), yes: Yes = False) -> None:
    """Drop a dead letter for good; it is counted as dropped. Example: hiper dlq purge 1700000000000-0 --yes."""
    if not yes and not typer.confirm(f"Drop {entry_id} for good?"):
        raise typer.Abort
    if not _with_letters(run_dir, lambda found: found.purge(entry_id)):
        raise DataError(f"there is no dead letter {entry_id}", "see `hiper dlq list`")
    message(f"purged {entry_id}")


def _with_letters(run_dir: Path, ask: Callable[[Any], Awaitable[T]]) -> T:
    from hiper.streams import DeadLetters

    return ask_broker(run_dir, lambda broker: ask(DeadLetters(broker)))


def _tree(letter: Any) -> dict[str, Any]:
    tree = asdict(letter) if is_dataclass(letter) and not isinstance(letter, type) else dict(letter)
    return {name: value for name, value in tree.items() if not isinstance(value, bytes)}
