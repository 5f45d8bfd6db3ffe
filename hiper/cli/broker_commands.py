"""`hiper broker acl`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from hiper.errors import DataError

__all__ = ["app"]

app = typer.Typer(help="The broker: users and their rights.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `acl` a subcommand while it is the only one."""


@app.command()
def acl(
    run: Annotated[str, typer.Option("--run", help="Name of the run the users may work on.")],
    secrets: Annotated[Path, typer.Option("--secrets", help="Folder with one file per user, the password in it.")],
    output: Annotated[Path | None, typer.Option("--output", help="File to write, readable by its owner only.")] = None,
) -> None:
    """Print an ACL file for a Redis or Valkey server: one user per service, with the rights it needs.

    Example: hiper broker acl --run demo --secrets secrets/ > users.acl
    """
    from hiper.streams.acl import USERS, acl_file

    passwords = {}
    for user in USERS:
        try:
            passwords[user] = (secrets / user).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise DataError(
                f"no password for user '{user}': cannot read {secrets / user}: {error.strerror}",
                f"make one file for each of {', '.join(USERS)}",
            ) from error
    text = acl_file(run, passwords)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.touch(mode=0o600)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"cannot write {output}: {error.strerror}", "give --output a path in a folder you own"
        ) from error
