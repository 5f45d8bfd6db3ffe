"""`hiper data check|fetch|unpack|nouns`: getting the benchmarks' own data, and knowing that it is whole."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from hiper.cli.output import Format, FormatOption, emit, message
from hiper.errors import ConfigError, DataError

if TYPE_CHECKING:
    from hiper.datasets.findings import Inspection
    from hiper.datasets.releases import PublishedFile, Release
    from hiper.datasets.unpack import Unpacked

__all__ = ["app"]

app = typer.Typer(help="Data of the benchmarks: check, fetch, unpack.", no_args_is_help=True)

Out = Annotated[Path, typer.Option("--out", help="Folder it is put into.")]
Report = Callable[[int, int | None], None]

_SHOWN = 20
"""Findings that are listed one by one for people."""


@app.command()
def check(
    data: Annotated[Path, typer.Option("--data", help="Folder or archive.")],
    env: Annotated[str | None, typer.Option("--env", help="alfworld or webshop; default: what is there.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Unknown files are problems too.")] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Look at every file and compare it with what was published. Exit code 1 if something is wrong.

    Example: hiper data check --data data/alfworld -o json
    """
    inspections = _inspect(data, env)
    lines = [line for one in inspections for line in _lines(one)]
    emit([one.document() for one in inspections], form, lines)
    _refuse_faults(inspections, strict=strict)


@app.command()
def fetch(
    name: Annotated[str | None, typer.Argument(help="alfworld or webshop, as their authors publish them.")] = None,
    out: Out = Path("data"),
    mirror: Annotated[str | None, typer.Option("--mirror", help="Address under which the same files lie.")] = None,
    url: Annotated[str | None, typer.Option("--url", help="One file from anywhere; needs --sha256.")] = None,
    sha256: Annotated[str | None, typer.Option("--sha256", help="Hash of the file at --url.")] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Download, verify, unpack and check a data set; what was interrupted goes on. Offline it says what to do.

    Example: hiper data fetch alfworld --out data
    """
    from hiper.datasets.releases import find_release

    if (name is None) == (url is None):
        raise ConfigError("name either a data set or a --url", "e.g. `hiper data fetch alfworld --out data`")
    if url is not None:
        path = _fetch(_single(url, sha256), out)
        emit({"file": str(path)}, form, [f"{path}: verified"])
        return
    release = find_release(name or "")
    inspection = _fetch_release(release.mirrored(mirror) if mirror else release, out / release.name)
    emit(inspection.document(), form, list(_lines(inspection)))
    _refuse_faults([inspection])


@app.command()
def unpack(
    archive: Annotated[Path, typer.Argument(help="A tar, compressed or not, or a zip.")],
    out: Out,
    form: FormatOption = Format.TEXT,
) -> None:
    """Unpack an archive, safely and whole or not at all. Example: hiper data unpack games.tar.xz --out data."""
    done = _unpack(archive, out)
    what = {"files": done.files, "bytes": done.bytes, "entries": list(done.entries), "folder": str(out)}
    emit(what, form, [f"{out}: {done.files} files, {done.bytes / 1e6:.1f} MB ({', '.join(done.entries)})"])


@app.command()
def nouns(
    data: Annotated[Path, typer.Option("--data", help="Folder with items_shuffle*.json, or that file.")],
    source: Annotated[str, typer.Option("--source", help="spacy, as the original, or words.")] = "spacy",
    out: Annotated[Path | None, typer.Option("--out", help="File to write; default: beside the products.")] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Write the nouns of WebShop's titles down once, so that no server needs spaCy to judge a purchase.

    Example: hiper data nouns --data data/webshop --source spacy
    """
    from hiper.envs.webshop.catalogue import open_catalogue
    from hiper.envs.webshop.files import find_files
    from hiper.envs.webshop.reward.nouns import NounRule, write_table

    if source not in tuple(NounRule):
        raise ConfigError(f"no source {source!r} of nouns", f"use one of {', '.join(NounRule)}")
    files = find_files(data)
    if out is None and files.nouns is not None:
        raise ConfigError(f"{files.nouns}: there is a table already", "name another file with --out, or delete it")
    path, chosen = out or files.noun_table, NounRule(source).source()
    try:
        titles = write_table(path, open_catalogue(files), chosen)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}", "name another file with --out") from error
    emit(
        {"file": str(path), "titles": titles, "source": chosen.name}, form, [f"{path}: {titles} titles, {chosen.name}"]
    )


def _inspect(data: Path, env: str | None) -> list["Inspection"]:
    from hiper.datasets.inspection import inspect_data

    with _progress("looking at games", "games") as report:
        return inspect_data(data, env, report)


def _single(url: str, sha256: str | None) -> "PublishedFile":
    from hiper.datasets.releases import PublishedFile

    try:
        name = Path(urlsplit(url).path).name
    except ValueError as error:
        raise ConfigError(f"{url} is no address: {error}", "give the address of the file itself") from error
    if not name:
        raise ConfigError(f"{url} names no file", "give the address of the file itself")
    if sha256 is None or len(sha256) != 64:
        raise ConfigError("--url needs --sha256, 64 hexadecimal digits", "ask who publishes the file for its hash")
    return PublishedFile(url, name, sha256.lower())


def _fetch(file: "PublishedFile", folder: Path) -> Path:
    from hiper.datasets.fetch import fetch_file

    with _progress(file.name, "bytes") as report:
        fetched = fetch_file(file, folder, on_progress=report)
    message(f"{fetched.path}: {'there already' if fetched.was_there else 'downloaded'}, sha256 {file.sha256}")
    return fetched.path


def _fetch_release(release: "Release", folder: Path) -> "Inspection":
    for file in release.files:
        path = _fetch(file, folder)
        if release.unpacks_to and not (folder / release.unpacks_to).exists():
            _unpack(path, folder)
    return _inspect(folder, release.name)[0]


def _unpack(archive: Path, folder: Path) -> "Unpacked":
    from hiper.datasets.unpack import unpack as unpack_archive

    with _progress(f"unpacking {archive.name}", "files") as report:
        return unpack_archive(archive, folder, on_file=lambda files: report(files, None))


def _lines(inspection: "Inspection") -> Iterator[str]:
    yield f"{inspection.env} at {inspection.path}"
    yield from (f"  {line}" for line in inspection.summary)
    for kind, findings in (("problem", inspection.problems), ("note", inspection.notes)):
        for finding in findings[:_SHOWN]:
            yield f"  {kind}: {finding.file}: {finding.problem}"
        if len(findings) > _SHOWN:
            yield f"  {len(findings) - _SHOWN} more of these; `-o json` lists all"
    yield "  whole" if not inspection.problems else f"  {len(inspection.problems)} problems"


def _refuse_faults(inspections: list["Inspection"], *, strict: bool = False) -> None:
    faults = [(one.path, found) for one in inspections for found in (*one.problems, *(one.notes if strict else ()))]
    if faults:
        path, first = faults[0]
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise DataError(f"{path}: {first.file}: {first.problem}{more}", "`hiper data fetch` gets the data again")


@contextmanager
def _progress(what: str, unit: str) -> Iterator[Report]:
    """Shows people how far it is; silent where nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), count, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
