"""What is missing where an optional part was not installed, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from hiper.errors import DependencyError

__all__ = ["packages_for"]


@contextmanager
def packages_for(what: str, extra: str) -> Iterator[None]:
    """Turn a package that `what` needs and does not find into a `DependencyError` that names the `extra` it is in."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("hiper", "services"):
            raise
        raise DependencyError(f"{what} needs the package {error.name}", f"pip install 'hiper-rl[{extra}]'") from error
