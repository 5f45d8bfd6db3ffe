"""A package as a user would have installed it."""

from pathlib import Path


def install(folder: Path, module: str, code: str, group: str, entry_points: dict[str, str]) -> None:
    """One module and entry points of one group, in a folder that the test puts on the path."""
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    points = "".join(f"{name} = {module}:{attribute}\n" for name, attribute in entry_points.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{points}")
