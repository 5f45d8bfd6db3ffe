"""Make the panels of the package from the data: scripts/make_panels.py [DATA]; default: $HIPER_DATA or ../shared/data.

The same data gives the same bytes, so `git diff` shows whether anything changed. Panels whose data is absent are left
as they are.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from hiper.envs.alfworld.model import TaskType
from hiper.envs.alfworld.source import AlfworldFiles
from hiper.envs.alfworld.storage import SPLITS
from hiper.envs.alfworld.synthetic import SplitSpec, SyntheticAlfworld
from hiper.envs.panels import Panel, dump_panel, make_panel
from hiper.envs.webshop.source import WebShopFiles

TARGET = Path(__file__).resolve().parent.parent / "hiper" / "envs" / "panels" / "files"
COMPRESS_ABOVE = 100_000
"""Bytes from which a panel is stored compressed."""


def alfworld(data: Path) -> Iterator[Panel]:
    """The four splits of the real games."""
    source = AlfworldFiles(data)
    for split in SPLITS:
        yield make_panel(source, split)


def webshop(data: Path) -> Iterator[Panel]:
    """The held-out goals, with other products to train on, or, as peers do it, with other goals."""
    source = WebShopFiles(data)
    for kind, train in (("products", "train"), ("compat", "train_compat")):
        yield make_panel(source, "test", train=train, name=f"webshop-1000-{kind}", max_steps=15)


def synthetic() -> Iterator[Panel]:
    """What tests and the demo play: changed bytes mean a changed generator."""
    yield make_panel(SyntheticAlfworld(), "valid", name="synth-alfworld-demo-valid")
    rooms = SplitSpec(size=12, types=tuple(TaskType), train=1, valid=48)
    yield make_panel(SyntheticAlfworld(rooms), "valid", name="synth-alfworld-12-valid")


def panels(data: Path) -> Iterator[Panel]:
    """All panels that `data` allows."""
    yield from synthetic()
    if (data / "alfworld").exists():
        yield from alfworld(data / "alfworld")
    if (data / "webshop").exists():
        yield from webshop(data / "webshop")


def file_of(panel: Panel) -> tuple[str, bytes]:
    """Name and bytes of the panel's file."""
    plain = dump_panel(panel)
    if len(plain) <= COMPRESS_ABOVE:
        return f"{panel.name}.json", plain
    return f"{panel.name}.json.gz", dump_panel(panel, compress=True)


def main() -> None:
    """Write the files."""
    root = Path(__file__).resolve().parent.parent
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("HIPER_DATA", root.parent / "shared" / "data"))
    for panel in panels(data):
        name, content = file_of(panel)
        (TARGET / name).write_bytes(content)
        print(f"{name}: {len(panel.tasks)} tasks, {len(content)} bytes, {panel.sha256}")


if __name__ == "__main__":
    main()
