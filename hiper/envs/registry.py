"""Finding an environment's tasks by name. Engines are imported when asked for, so one costs nothing to the other."""

from importlib import import_module
from pathlib import Path
from typing import cast

from hiper.envs.base import TaskSource
from hiper.envs.custom import open_custom
from hiper.errors import ConfigError
from hiper.vocabulary import EnvName

__all__ = ["open_source"]

_DATA_SOURCES = {
    EnvName.ALFWORLD: ("hiper.envs.alfworld.source", "AlfworldFiles"),
    EnvName.WEBSHOP: ("hiper.envs.webshop.source", "WebShopFiles"),
}
_SYNTHETIC_SOURCES = {
    EnvName.ALFWORLD: ("hiper.envs.alfworld.synthetic", "SyntheticAlfworld"),
    EnvName.WEBSHOP: ("hiper.envs.webshop.synthetic", "SyntheticWebShop"),
}


def open_source(env: str, data: str | Path | None = None, *, seed: int | None = None, **options: object) -> TaskSource:
    """Tasks of `env` in the files at `data`; generated ones when `data` is None.

    `env` is built in, or one of your own (`hiper.envs.custom`). `seed` fixes what WebShop draws when it loads, the
    order of its goals; None is its default, and others draw nothing. `options` go to the source as they are (see its
    class). Raises `ConfigError` for an unknown environment and `DataError` when there is nothing usable at `data`.
    """
    if ":" in env:
        return open_custom(env, data, options)
    if env not in tuple(EnvName):
        own = "or one of your own as package.module:name or entry-point:name"
        raise ConfigError(f"there is no environment {env!r}", f"use one of {', '.join(EnvName)}, {own}")
    name = EnvName(env)
    module, factory = (_SYNTHETIC_SOURCES if data is None else _DATA_SOURCES)[name]
    make = getattr(import_module(module), factory)
    if name is EnvName.WEBSHOP and seed is not None:
        options["seed"] = seed
    return cast(TaskSource, make(**options) if data is None else make(data, **options))
