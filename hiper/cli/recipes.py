"""Finding run files by name."""

from pathlib import Path

import hiper
from hiper.errors import ConfigError

__all__ = ["find_recipe"]


def find_recipe(name: str) -> Path:
    """Return the path of a run file given as a path or as the name of a file in `configs/`."""
    given = Path(name)
    if given.suffix in (".yaml", ".yml", ".json") or len(given.parts) > 1 or given.exists():
        return given
    folders = [Path.cwd() / "configs", Path(hiper.__file__).resolve().parent.parent / "configs"]
    for folder in folders:
        path = folder / f"{name}.yaml"
        if path.exists():
            return path
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    raise ConfigError(f"there is no run file '{name}'", f"give a path, or one of: {', '.join(known) or 'none found'}")
