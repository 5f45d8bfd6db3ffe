"""`hiper init`: what a run keeps secret, as files."""

import secrets as randomness
from pathlib import Path
from typing import Annotated

import typer

from hiper.cli.output import message
from hiper.cli.recipes import find_recipe
from hiper.errors import DataError

__all__ = ["init"]

_TOKENS = ("grpc", "control")
_BYTES = 32


def init(
    config: Annotated[str, typer.Option("--config", help="Run file, or the name of one in configs/.")],
    secrets: Annotated[Path, typer.Option("--secrets", help="Folder the secrets are kept in.")],
) -> None:
    """Make the secrets of a run that are not there yet, and the broker's ACL file.

    Passwords of broker users are in broker/, one file each; bearer tokens in grpc and control; the rights in users.acl.

    Example: hiper init --config demo --secrets secrets
    """
    from hiper.config import load_config
    from hiper.durable import write_bytes
    from hiper.streams.acl import USERS, acl_file

    run = load_config(find_recipe(config)).run
    try:
        (secrets / "broker").mkdir(mode=0o700, parents=True, exist_ok=True)
        made = [name for name in (*_TOKENS, *(f"broker/{user}" for user in USERS)) if _make(secrets / name)]
        passwords = {user: (secrets / "broker" / user).read_text(encoding="utf-8").strip() for user in USERS}
        # Rights follow the program's scripts: they are written by the version that will use them.
        write_bytes(secrets / "users.acl", acl_file(run, passwords).encode())
    except OSError as error:
        raise DataError(
            f"cannot keep secrets in {secrets}: {error.strerror}", "give --secrets a folder you own"
        ) from error
    message(f"{secrets}: {len(made)} secrets made, rights of run {run} written")


def _make(path: Path) -> bool:
    """Write a random secret that only its owner reads; False if there is one."""
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        if path.stat().st_size:
            return False
    path.write_text(randomness.token_urlsafe(_BYTES), encoding="utf-8")
    return True
