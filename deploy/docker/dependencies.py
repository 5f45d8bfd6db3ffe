"""Print what pyproject.toml says HiPER needs, one requirement a line: python dependencies.py [EXTRA...].

A layer of packages that is older than the sources stays as it is when only sources change.
"""

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path, extras: list[str]) -> list[str]:
    """Return the dependencies of the project and of the extras. Raises `KeyError` for an extra it does not have."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in requirements(Path("pyproject.toml"), sys.argv[1:]))
