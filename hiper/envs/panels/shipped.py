"""The panels that come with the package, and panels by name or path."""

import difflib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path

from hiper.envs.panels.model import Panel, parse_panel
from hiper.errors import DataError

__all__ = ["find_shipped", "load_panel", "shipped_panels"]

_SUFFIXES = (".json", ".json.gz")
_PAIRS = {
    ("webshop-1000-test", "train"): "webshop-1000-products",
    ("webshop-1000-test", "train_compat"): "webshop-1000-compat",
}
"""Panels that fix what is evaluated and what is trained on together."""


@lru_cache(maxsize=1)
def _files() -> dict[str, str]:
    """File name by panel name, sorted."""
    names = sorted(entry.name for entry in (resources.files("hiper.envs.panels") / "files").iterdir())
    return {name.removesuffix(".gz").removesuffix(".json"): name for name in names if name.endswith(_SUFFIXES)}


def shipped_panels() -> tuple[str, ...]:
    """Names of the panels of this package, sorted."""
    return tuple(_files())


def load_panel(name: str) -> Panel:
    """The shipped panel of that name, or the one in the file at that path. Raises `DataError`."""
    if name in _files():
        return _load_shipped(name)
    path = Path(name)
    if not (name.endswith(_SUFFIXES) or len(path.parts) > 1 or path.exists()):
        near = difflib.get_close_matches(name, shipped_panels(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`hiper env panels` lists those that are shipped"
        raise DataError(f"there is no panel {name!r}", f"{hint} A path ends with .json or .json.gz")
    try:
        return parse_panel(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", "name a panel file or a shipped panel") from error


def find_shipped(env: str, data: Mapping[str, str], split: str, train: str = "train") -> Panel | None:
    """The shipped panel of a split of this data, for those who train on split `train`; None if there is none.

    `data` is the source's fingerprint. Under other rules or seeds than the panel's (another noun source, say) it is not
    meant; data with other hashes is: holding it against the panel then says so.
    """
    plain = f"{env}-{data['version']}-{split}"
    name = _PAIRS.get((plain, train), plain)
    panel = _load_shipped(name) if name in _files() else None
    return panel if panel and _rules(panel.data) == _rules(data) else None


def _rules(data: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in data.items() if not name.endswith("_sha256")}


@lru_cache(maxsize=8)
def _load_shipped(name: str) -> Panel:
    file = resources.files("hiper.envs.panels") / "files" / _files()[name]
    return parse_panel(file.read_bytes(), f"shipped panel {name}")
