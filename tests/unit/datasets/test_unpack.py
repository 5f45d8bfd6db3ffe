"""Archives from elsewhere: unpacked whole, or refused by name with nothing left behind."""

import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from archives import write_tar
from hypothesis import given
from hypothesis import strategies as st

from hiper.datasets.unpack import Limits, Unpacked, unpack
from hiper.errors import DataError

FILES = {"json_2.1.1/train/a/game.tw-pddl": b"one" * 1000, "json_2.1.1/b.txt": b"", "logic/c.pddl": b"\x00\xff"}


def tar(path: Path, files: Mapping[str, bytes], mode: str = "w:xz") -> Path:
    return write_tar(path, files.items(), mode)


def tar_with(path: Path, extra: tarfile.TarInfo) -> Path:
    with tarfile.open(tar(path, FILES, "w"), "a") as archive:
        archive.addfile(extra)
    return path


def zipped(path: Path, files: Mapping[str, bytes], link: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("json_2.1.1/", b"")
        for name, data in files.items():
            archive.writestr(name, data)
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("pack", [tar, zipped, lambda path, files: tar(path, files, mode="w:gz")])
def test_an_archive_is_unpacked_whole(tmp_path: Path, pack: Callable[[Path, Mapping[str, bytes]], Path]) -> None:
    counted: list[int] = []
    done = unpack(pack(tmp_path / "archive", FILES), tmp_path / "new" / "out", on_file=counted.append)
    assert tree(tmp_path / "new" / "out") == FILES
    assert done == Unpacked(3, sum(map(len, FILES.values())), ("json_2.1.1", "logic"))
    assert counted[-1] == 3


UNSAFE = ["../evil", "/tmp/evil", "a/../../evil", "a\\..\\evil", "C:/evil", "json_2.1.1/../../evil"]


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("pack", [tar, zipped])
def test_a_name_that_leads_out_refuses_the_whole_archive(
    tmp_path: Path, name: str, pack: Callable[[Path, Mapping[str, bytes]], Path]
) -> None:
    archive = pack(tmp_path / "archive", {**FILES, name: b"evil"})
    with pytest.raises(DataError, match="leads out of the folder"):
        unpack(archive, tmp_path / "out")
    assert tree(tmp_path) == {"archive": archive.read_bytes()}
    assert not Path("/tmp/evil").exists()


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b", "/", "c:", "\\"]), min_size=1, max_size=5))
def test_whatever_a_name_is_nothing_is_written_outside(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("names")
    archive = tar(folder / "archive", {"/".join(parts): b"x"}, mode="w")
    out = folder / "in" / "out"
    try:
        unpack(archive, out)
    except DataError:
        assert tree(folder / "in") == {}
    else:
        assert set(tree(folder / "in").values()) == {b"x"}
        assert all(name.startswith("out/") for name in tree(folder / "in"))
    assert len(tree(folder)) <= 2


@pytest.mark.parametrize(
    "member",
    [
        special("json_2.1.1/link", tarfile.SYMTYPE, "/etc/passwd"),
        special("json_2.1.1/hard", tarfile.LNKTYPE, "json_2.1.1/b.txt"),
        special("json_2.1.1/device", tarfile.CHRTYPE),
        special("json_2.1.1/pipe", tarfile.FIFOTYPE),
    ],
)
def test_links_and_devices_refuse_the_whole_archive(tmp_path: Path, member: tarfile.TarInfo) -> None:
    with pytest.raises(DataError, match="neither file nor folder"):
        unpack(tar_with(tmp_path / "archive", member), tmp_path / "out")
    assert tree(tmp_path / "out") == {}


def test_a_link_in_a_zip_refuses_it_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'json_2\.1\.1/link', which is neither"):
        unpack(zipped(tmp_path / "archive", FILES, link="json_2.1.1/link"), tmp_path / "out")


def test_an_archive_cannot_fill_the_disk(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "bomb", {"zeros": bytes(5_000_000)})
    assert bomb.stat().st_size < 10_000
    with pytest.raises(DataError, match="more than 1000000 bytes"):
        unpack(bomb, tmp_path / "out", limits=Limits(bytes=1_000_000))
    with pytest.raises(DataError, match="more than 2 files"):
        unpack(tar(tmp_path / "archive", FILES), tmp_path / "out", limits=Limits(files=2))
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_that_is_there_is_replaced(tmp_path: Path) -> None:
    archive = tar(tmp_path / "archive", FILES)
    mine = tmp_path / "out" / "logic" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(DataError, match="out/logic exists already"):
        unpack(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == {"logic/mine.txt": b"mine"}


@pytest.mark.parametrize("pack", [tar, zipped])
def test_a_damaged_archive_is_named(tmp_path: Path, pack: Callable[[Path, Mapping[str, bytes]], Path]) -> None:
    archive = pack(tmp_path / "archive", {**FILES, "large": bytes(range(256)) * 4000})
    whole = archive.read_bytes()
    cuts = [whole[: len(whole) * share // 10] for share in (1, 5, 9)]
    for damaged in (*cuts, b"", bytes(2000), b"not an archive", whole[::-1]):
        archive.write_bytes(damaged)
        with pytest.raises(DataError, match=r"archive: (cannot be unpacked|holds no files|holds .* twice)"):
            unpack(archive, tmp_path / "out")
        assert tree(tmp_path / "out") == {}


def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "archive", [("json_2.1.1/a", b"one"), ("json_2.1.1/a", b"two")])
    with pytest.raises(DataError, match=r"holds 'json_2\.1\.1/a' twice"):
        unpack(tmp_path / "archive", tmp_path / "out")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file"):
        unpack(tmp_path / "nowhere", tmp_path / "out")
