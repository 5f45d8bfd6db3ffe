"""Finding other people's code: by Python path, or by an entry point of an installed package.

Importing runs that code, so whatever it raises becomes one `ConfigError` that names the setting which asked for it.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from hiper.errors import ConfigError

__all__ = ["PluginSite", "one_line"]


@dataclass(frozen=True, slots=True)
class PluginSite:
    """Who asks for a plug-in, in the words of an error."""

    setting: str
    """Setting that names the plug-in, e.g. `reward.terms.tone`."""
    kind: str
    """What it is, e.g. `reward term`."""
    importer: str
    """Who imports it, e.g. `the reward service`."""
    group: str
    """Group of entry points it may come from."""

    def by_path(self, path: str) -> Callable[..., Any]:
        """What `package.module:attribute` names. Raises `ConfigError`."""
        return self._imported(path, lambda: _import(path))

    def by_entry_point(self, name: str) -> Callable[..., Any]:
        """What the only installed package that offers `name` means by it. Raises `ConfigError`."""
        return self._imported(f"entry point {name}", self._entry_point(name).load)

    def offered(self) -> list[str]:
        """Names of the entry points that are installed here, sorted."""
        return sorted(point.name for point in metadata.entry_points(group=self.group))

    def check_call(self, function: Callable[..., Any], arguments: int, options: Mapping[str, object]) -> None:
        """Refuse options that `function`, given so many `arguments`, does not take. Raises `ConfigError`."""
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            return  # some built-in functions have none
        try:
            signature.bind(*(None,) * arguments, **options)
        except TypeError as error:
            hint = f"options are the keyword arguments of the {self.kind}"
            raise ConfigError(f"{self.setting}: {one_line(error)}", hint) from None

    def _imported(self, where: str, load: Callable[[], object]) -> Callable[..., Any]:
        try:
            found = load()
        # Importing runs other people's code: whatever it raises becomes one line.
        except (Exception, SystemExit) as error:
            hint = f"{self.importer} must be able to import it: install its package, or name its folder in PYTHONPATH"
            raise ConfigError(f"{self.setting}: cannot import {where}: {one_line(error)}", hint) from error
        if not callable(found):
            raise ConfigError(f"{self.setting}: {where} is no function but {found!r:.80}", "name a function or a class")
        function: Callable[..., Any] = found
        return function

    def _entry_point(self, name: str) -> metadata.EntryPoint:
        matching = [point for point in metadata.entry_points(group=self.group) if point.name == name]
        if len(matching) != 1:
            says = "no installed package offers" if not matching else f"{len(matching)} installed packages offer"
            known = ", ".join(self.offered()) or "none"
            raise ConfigError(
                f"{self.setting}: {says} the {self.kind} '{name}'", f"entry points of {self.group} here: {known}"
            )
        return matching[0]


def one_line(error: BaseException | None) -> str:
    """An error's type and text, without line breaks."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _import(path: str) -> object:
    module, _, attribute = path.partition(":")
    return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
