"""`hiper data` as a user meets it."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import write_tar
from command_line import hiper, refused
from file_server import FileServer, file_server
from game_trees import game_text
from typer.testing import CliRunner

from hiper.cli.data_commands import app
from hiper.datasets import releases
from hiper.datasets.releases import PublishedFile, Release
from hiper.envs.webshop.generator import CatalogueSpec, write_catalogue
from hiper.envs.webshop.source import WebShopFiles

GAME = "json_2.1.1/valid_seen/pick_and_place_simple-Thing-None-Place-{0}/trial_T{0}/game.tw-pddl"


def games(number: int = 3) -> dict[str, bytes]:
    return {GAME.format(n): game_text(n).encode() for n in range(number)}


@pytest.fixture(scope="module")
def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in games().items():
            archive.writestr(name, data)
    return packed.getvalue()


@pytest.fixture
def server(zipped: bytes) -> Iterator[FileServer]:
    with file_server(zipped) as served:
        yield served


def test_data_is_checked_packed_and_unpacked(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "games.tar.xz", games().items())
    packed = json.loads(hiper("data", "check", "--data", str(archive), "-o", "json").stdout)
    done = hiper("data", "unpack", str(archive), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "3 files" in done.stdout
    unpacked = json.loads(hiper("data", "check", "--data", str(tmp_path / "out"), "-o", "json").stdout)
    assert [one["splits"] for one in packed] == [{"valid_seen": {"pick_and_place_simple": 3}}]
    assert {**packed[0], "path": ""} == {**unpacked[0], "path": ""}
    text = hiper("data", "check", "--data", str(tmp_path / "out")).stdout
    assert "pick_and_place_simple" in text
    assert "note: valid_seen/pick_and_place_simple-Thing-None-Place-0/trial_T0/game.tw-pddl: not one of" in text


def test_a_broken_file_is_named_in_the_report_and_in_one_line(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "games.tar.xz", {**games(), GAME.format(1): b"{"}.items())
    done = hiper("data", "check", "--data", str(archive), "-o", "json")
    refused(done, 1, "trial_T1/game.tw-pddl: broken", "hiper data fetch")
    assert json.loads(done.stdout)[0]["problems"][0]["file"] == GAME.format(1).removeprefix("json_2.1.1/")


def test_strict_refuses_what_was_never_published(tmp_path: Path) -> None:
    write_catalogue(tmp_path, CatalogueSpec(products=20))
    check = ("data", "check", "--data", str(tmp_path), "--env", "webshop")
    assert hiper(*check).returncode == 0
    refused(hiper(*check, "--strict"), 1, "items_shuffle_20.json: not known as published", "and 2 more")


def test_a_data_set_is_fetched_unpacked_and_checked(
    server: FileServer, zipped: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = PublishedFile("http://127.0.0.1:1/elsewhere", "games.zip", hashlib.sha256(zipped).hexdigest(), len(zipped))
    monkeypatch.setattr(releases, "RELEASES", {"alfworld": Release("alfworld", "games", (file,), "json_2.1.1")})
    fetch = ["fetch", "alfworld", "--out", str(tmp_path), "--mirror", f"{server.address}/mirror/", "-o", "json"]
    for _ in range(2):
        done = CliRunner().invoke(app, fetch)
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["splits"] == {"valid_seen": {"pick_and_place_simple": 3}}
    assert (tmp_path / "alfworld" / GAME.format(2)).exists()
    assert server.asked == [("/mirror/games.zip", None)], "what is there is not asked for again"


@pytest.mark.parametrize(
    ("name", "file", "sha256"),
    [
        ("alfworld", "json_2.1.2_tw-pddl.zip", "eea90499df27b9cb"),
        ("webshop", "items_shuffle_1000.json", "30a4765c3a327af7"),
    ],
)
def test_a_published_file_with_other_bytes_is_refused(
    server: FileServer, tmp_path: Path, name: str, file: str, sha256: str
) -> None:
    done = hiper("data", "fetch", name, "--out", str(tmp_path), "--mirror", f"{server.address}/mirror/")
    refused(done, 1, f"is not {file}", f"instead of {sha256}")
    assert list((tmp_path / name).iterdir()) == []
    assert server.asked == [(f"/mirror/{file}", None)]


def test_one_file_from_anywhere_needs_its_hash(server: FileServer, zipped: bytes, tmp_path: Path) -> None:
    fetch = ("data", "fetch", "--out", str(tmp_path), "--url", f"{server.address}/any/games.zip")
    refused(hiper(*fetch), 2, "--sha256")
    refused(hiper(*fetch, "--sha256", "0" * 64), 1, "instead of 0000")
    assert hiper(*fetch, "--sha256", hashlib.sha256(zipped).hexdigest()).returncode == 0
    assert (tmp_path / "games.zip").read_bytes() == zipped


def test_without_a_network_one_line_says_what_to_do(tmp_path: Path) -> None:
    done = hiper("data", "fetch", "--out", str(tmp_path), "--url", "http://127.0.0.1:1/x.zip", "--sha256", "0" * 64)
    refused(done, 3, "cannot fetch http://127.0.0.1:1/x.zip", "download it elsewhere", f"put it at {tmp_path}/x.zip")


def test_what_makes_no_sense_is_refused_in_one_line(tmp_path: Path) -> None:
    refused(hiper("data", "fetch"), 2, "a data set or a --url")
    refused(hiper("data", "fetch", "chess"), 2, "alfworld, webshop")
    refused(hiper("data", "fetch", "--url", "http://[x/y", "--sha256", "0" * 64), 2, "no address")
    refused(hiper("data", "check", "--data", str(tmp_path / "no")), 1, "no such file or folder")
    refused(hiper("data", "unpack", str(tmp_path / "no"), "--out", str(tmp_path)), 1, "no such file")


def test_nouns_are_written_once_and_judge_from_then_on(tmp_path: Path) -> None:
    items = write_catalogue(tmp_path, CatalogueSpec(20))
    command = ("data", "nouns", "--data", str(items))
    done = hiper(*command, "--source", "words", "-o", "json")
    written = {"file": str(tmp_path / "title_nouns_20.json.gz"), "titles": 20, "source": "words-1"}
    assert json.loads(done.stdout) == written, done.stderr
    tasks = WebShopFiles(items)
    assert tasks.fingerprint()["nouns"].startswith("table-")
    refused(hiper(*command, "--source", "words"), 2, "title_nouns_20.json.gz", "already")
    refused(hiper(*command, "--source", "wurds"), 2, "wurds", "spacy, words")
    refused(hiper(*command, "--source", "words", "--out", str(tmp_path / "no" / "t.json.gz")), 1, "cannot be written")
