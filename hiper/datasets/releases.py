"""What the benchmarks' authors publish, by the names and addresses of their own download scripts.

ALFWorld: `alfworld-download` of the package alfworld 0.4.2. WebShop: `setup.sh` of its repository, the small set.
Neither publishes hashes: these were recorded from downloads, ALFWorld's by others who made size and hash public. What
an archive holds is checked again game by game.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hiper.errors import ConfigError

__all__ = ["RELEASES", "PublishedFile", "Release", "find_release"]


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file to download."""

    url: str
    name: str
    """Name it is kept under."""
    sha256: str
    size: int | None = None
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Release:
    """Files that make one data set."""

    name: str
    about: str
    files: tuple[PublishedFile, ...]
    unpacks_to: str | None = None
    """Folder its archive holds; None for files that are used as they are."""

    def mirrored(self, base: str) -> "Release":
        """The same files at `base`, under their names."""
        files = (
            PublishedFile(f"{base.rstrip('/')}/{file.name}", file.name, file.sha256, file.size) for file in self.files
        )
        return Release(self.name, self.about, tuple(files), self.unpacks_to)


def _drive(identity: str) -> str:
    return f"https://drive.usercontent.google.com/download?id={identity}&export=download&confirm=t"


_ALFWORLD = Release(
    "alfworld",
    "all 4,027 ALFWorld games, version 2.1.2",
    (
        PublishedFile(
            "https://github.com/alfworld/alfworld/releases/download/0.4.0/json_2.1.2_tw-pddl.zip",
            "json_2.1.2_tw-pddl.zip",
            "eea90499df27b9cb3147d1d1927264146d38194b575e25f70a82875545742dcb",
            36_493_542,
        ),
    ),
    unpacks_to="json_2.1.1",
)
_WEBSHOP = Release(
    "webshop",
    "WebShop with 1,000 products",
    (
        PublishedFile(
            _drive("1EgHdxQ_YxqIQlvvq5iKlCrkEKR6-j0Ib"),
            "items_shuffle_1000.json",
            "30a4765c3a327af72d9a9a95a6b2486d516f0fa1d3ecd83681901ce82a21b269",
            4_467_013,
        ),
        PublishedFile(
            _drive("1IduG0xl544V_A_jv3tHXC0kyFi7PnyBu"),
            "items_ins_v2_1000.json",
            "f88a36314a397b53b3d9c3fa5878e5f7b26d35019a51ec83fbedeca61a948f6f",
            147_099,
        ),
        PublishedFile(
            _drive("14Kb5SPBk_jfdLZ_CDBNitW98QLDlKR5O"),
            "items_human_ins.json",
            "cf78667548a71786e1d9049c24b802e48e1084ad4bb021cae56ce1f6d96954a3",
            5_137_548,
        ),
    ),
)
RELEASES: Mapping[str, Release] = {release.name: release for release in (_ALFWORLD, _WEBSHOP)}


def find_release(name: str) -> Release:
    """The release of that name. Raises `ConfigError`."""
    if name not in RELEASES:
        raise ConfigError(f"there is no data set {name!r}", f"use one of {', '.join(RELEASES)}, or give --url")
    return RELEASES[name]
