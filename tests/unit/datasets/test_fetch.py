"""Downloads over real HTTP: whole and verified, or not there, whatever the server does."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import FileServer, file_server

from hiper.datasets.fetch import Fetched, FetchSettings, fetch_file
from hiper.datasets.releases import PublishedFile
from hiper.errors import DataError, IntegrityError, RemoteError

CONTENT = bytes(range(256)) * 9000  # more than two chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server(CONTENT) as served:
        yield served


def published(server: FileServer, size: int | None = None) -> PublishedFile:
    return PublishedFile(f"{server.address}/some/games.zip?x=1", "games.zip", SHA256, size)


def fetched(file: PublishedFile, folder: Path, **settings: float) -> Fetched:
    pauses: list[float] = []
    return fetch_file(file, folder, FetchSettings(**settings), sleep=pauses.append)  # type: ignore[arg-type]


def left(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_arrives_whole(server: FileServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    found = fetch_file(published(server), tmp_path / "new" / "folder", on_progress=lambda *at: seen.append(at))
    assert found.path.read_bytes() == CONTENT
    assert not found.was_there
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert left(found.path.parent) == ["games.zip"]


def test_what_is_there_is_verified_and_not_downloaded(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "games.zip").write_bytes(CONTENT)
    assert fetched(published(server), tmp_path).was_there
    (tmp_path / "games.zip").write_bytes(b"put here by hand, and wrong")
    with pytest.raises(IntegrityError, match=r"games\.zip is not what was published: 27 bytes with sha256") as refused:
        fetched(published(server), tmp_path)
    assert "remove it" in refused.value.hint
    assert left(tmp_path) == ["games.zip"]
    assert server.asked == []


@pytest.mark.parametrize("faults", [["half"], ["503"], ["half", "429", "half"], ["other"]])
def test_an_interruption_is_gone_over(server: FileServer, tmp_path: Path, faults: list[str]) -> None:
    if faults == ["other"]:
        (tmp_path / ".games.zip.part").write_bytes(CONTENT[:7])
    server.faults = faults
    assert fetched(published(server), tmp_path).path.read_bytes() == CONTENT


def test_a_second_run_goes_on_where_the_first_one_stopped(server: FileServer, tmp_path: Path) -> None:
    server.faults = ["half"]
    with pytest.raises(RemoteError, match=r"/some/games\.zip\?x=1: .* \(1 attempts\)"):
        fetched(published(server), tmp_path, attempts=1)
    assert left(tmp_path) == [".games.zip.part"], "nothing that looks whole"
    have = (tmp_path / ".games.zip.part").stat().st_size
    assert have == len(CONTENT) // 2
    fetched(published(server), tmp_path)
    assert server.asked[-1] == ("/some/games.zip?x=1", f"bytes={have}-")
    assert (tmp_path / "games.zip").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_it_again(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".games.zip.part").write_bytes(b"older, and longer than nothing")
    server.knows_ranges = False
    assert fetched(published(server), tmp_path).path.read_bytes() == CONTENT


def test_a_part_that_is_whole_is_taken_as_it_is(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".games.zip.part").write_bytes(CONTENT)
    assert fetched(published(server), tmp_path).path.read_bytes() == CONTENT
    assert server.asked == []


def test_a_part_that_is_longer_than_the_file_is_dropped(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".games.zip.part").write_bytes(CONTENT + b"more")
    assert fetched(published(server), tmp_path).path.read_bytes() == CONTENT


def test_another_file_than_was_published_is_refused_and_removed(server: FileServer, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(IntegrityError, match=f"instead of {SHA256}"):
        fetched(published(server), tmp_path)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "why"),
    [("404", "answered 404 Not Found"), ("403", "403"), ("page", "a page for people"), ("500", r"500 .*4 attempts")],
)
def test_a_refusal_says_what_to_do_offline(server: FileServer, tmp_path: Path, fault: str, why: str) -> None:
    server.faults = [fault] * 4
    with pytest.raises(RemoteError, match=why) as refused:
        fetched(published(server), tmp_path)
    assert f"put it at {tmp_path}/games.zip and run this command again" in refused.value.hint
    assert server.address in refused.value.message
    assert len(server.asked) == (4 if fault == "500" else 1), "only what may pass is asked for again"


def test_a_file_that_is_too_large_is_cut_off(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="where 1000 are expected at most"):
        fetched(published(server, size=1000), tmp_path)
    with pytest.raises(RemoteError, match="where 5000 are expected at most"):
        fetched(published(server), tmp_path, max_bytes=5000)
    assert left(tmp_path) == []


def test_a_download_has_a_deadline(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="not done within 0 s"):
        fetched(published(server), tmp_path, deadline_s=0)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/games.zip", "gopher://host/games.zip", "http://[broken/games.zip"])
def test_what_cannot_be_reached_is_one_line(tmp_path: Path, url: str) -> None:
    with pytest.raises(RemoteError, match=r"cannot fetch .*games\.zip: ") as refused:
        fetched(PublishedFile(url, "games.zip", SHA256), tmp_path, connect_timeout_s=2)
    assert "\n" not in str(refused.value)


def test_a_folder_that_cannot_be_written_is_named(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "games.zip").mkdir()
    with pytest.raises(DataError, match=r"games\.zip: Is a directory"):
        fetched(published(server), tmp_path)
    with pytest.raises(DataError, match=r"file/games\.zip: File exists"):
        fetched(published(server), tmp_path / "file")
