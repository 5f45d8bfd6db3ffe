"""Which data is at a path, and what a look at it finds."""

from collections.abc import Callable
from pathlib import Path

from hiper.datasets.findings import Inspection
from hiper.envs.alfworld.storage import open_storage
from hiper.errors import ConfigError, DataError
from hiper.vocabulary import EnvName

__all__ = ["inspect_data"]

_ITEMS = "items_shuffle*"


def inspect_data(
    path: Path, env: str | None = None, on_game: Callable[[int, int], None] = lambda _done, _total: None
) -> list[Inspection]:
    """Look at the data of `env`, or of all environments that have some at `path`.

    `on_game` is told how many games of how many are done. Raises `DataError` if there is nothing, `ConfigError` for an
    environment without data of its own.
    """
    if env is not None and env not in tuple(EnvName):
        raise ConfigError(f"{env} has no data that is known here", f"use one of {', '.join(EnvName)}")
    if not path.exists():
        raise DataError(f"{path}: no such file or folder", "name the folder or archive with the data")
    wanted = [EnvName(env)] if env else [name for name, here in _HERE.items() if here(path)]
    if not wanted:
        raise DataError(f"{path}: neither ALFWorld games nor a WebShop catalogue", "`hiper data fetch` gets them")
    return [_look(name, path, on_game) for name in wanted]


def _look(env: EnvName, path: Path, on_game: Callable[[int, int], None]) -> Inspection:
    if env is EnvName.ALFWORLD:
        from hiper.datasets.alfworld import inspect_alfworld

        return inspect_alfworld(path, on_game)
    from hiper.datasets.webshop import inspect_webshop

    return inspect_webshop(path)


def _has_games(path: Path) -> bool:
    if path.is_file():
        return not _has_products(path)
    try:
        open_storage(path)
    except DataError:
        return False
    return True


def _has_products(path: Path) -> bool:
    if path.is_file():
        return path.match(_ITEMS)
    return any(next(folder.glob(_ITEMS), None) for folder in (path, path / "webshop"))


_HERE = {EnvName.ALFWORLD: _has_games, EnvName.WEBSHOP: _has_products}
