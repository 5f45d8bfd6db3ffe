"""The server's side of weights over HTTP, asked by hand: names, ranges, slots, offers, bounds."""

import hashlib
import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from weights_world import SETTINGS

from hiper.weights.shelf import Shelf, serve_weights

CONTENT = bytes(range(256)) * 40
NAME = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Client:
    host: str
    shelf: Shelf

    def ask(self, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection(self.host, timeout=10)) as connection:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def offer(self, url: str, *contents: str) -> tuple[int, bytes]:
        return self.ask("/holders", method="POST", body=json.dumps({"url": url, "sha256": contents}).encode())


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    shelf = Shelf()
    (tmp_path / "file").write_bytes(CONTENT)
    shelf.put(NAME, tmp_path / "file")
    with serve_weights(shelf, SETTINGS.model_copy(update={"upload_slots": 1})) as url:
        yield Client(url.removeprefix("http://"), shelf)


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-", 200, 0, None),
        ("bytes=100-", 206, 100, None),
        ("bytes=100-199", 206, 100, 200),
        ("bytes=10000-99999999", 206, 10_000, None),
    ],
)
def test_a_range_is_answered_exactly(client: Client, asked: str, status: int, start: int, end: int | None) -> None:
    assert client.ask(f"/files/{NAME}", Range=asked) == (status, CONTENT[start:end])


@pytest.mark.parametrize("asked", ["bytes=99999-", "bytes=5-2", "bytes=-5", "bytes=1-2,4-5", "lines=1-2", "bytes=x-"])
def test_a_range_that_is_none_is_refused(client: Client, asked: str) -> None:
    assert client.ask(f"/files/{NAME}", Range=asked)[0] == 416


@pytest.mark.parametrize(
    "path", ["/", "/files/", "/files/../../etc/passwd", f"/files/{NAME}/x", f"/other/{NAME}", f"/files/{'0' * 64}"]
)
def test_only_contents_have_names(client: Client, path: str) -> None:
    assert client.ask(path)[0] == 404


def test_a_file_that_has_gone_is_not_found(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").unlink()
    assert client.ask(f"/files/{NAME}")[0] == 404


def test_who_comes_when_every_slot_is_taken_is_sent_away(client: Client, tmp_path: Path) -> None:
    large, name = tmp_path / "large", "1" * 64
    with large.open("wb") as file:
        file.truncate(256 * 2**20)
    client.shelf.put(name, large)
    with closing(http.client.HTTPConnection(client.host, timeout=10)) as slow:
        slow.request("GET", f"/files/{name}")
        assert slow.getresponse().status == 200  # and the body is left where it is
        assert client.ask(f"/files/{NAME}") == (503, b"every upload slot is taken\n")


def test_an_offer_is_told_to_those_who_ask(client: Client) -> None:
    assert json.loads(client.ask(f"/holders/{NAME}")[1]) == {"urls": []}
    assert client.offer("http://10.0.0.7:81", NAME)[0] == 200
    assert client.offer("http://[::1]:82", NAME)[0] == 200
    assert set(json.loads(client.ask(f"/holders/{NAME}")[1])["urls"]) == {"http://10.0.0.7:81", "http://[::1]:82"}


@pytest.mark.parametrize(
    "url", ["http://host/path:1", "https://host:1", "http://user@host:1", "http://host", "", "x" * 999]
)
def test_an_address_that_is_none_is_refused(client: Client, url: str) -> None:
    assert client.offer(url, NAME)[0] == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"url": "http://h:1", "sha256": ["x"]}', b"\xff"])
def test_an_offer_that_is_none_is_refused(client: Client, body: bytes) -> None:
    assert client.ask("/holders", method="POST", body=body)[0] == 400


def test_a_body_without_bounds_is_refused(client: Client) -> None:
    assert client.ask("/holders", method="POST", body=b"x" * 70_000)[0] == 413


def test_offers_are_bounded(client: Client) -> None:
    for number in range(5000):
        client.shelf.offer("http://h:1", [f"{number:064x}"])
    assert client.shelf.holders(f"{0:064x}") == [], "the oldest go first"
    assert client.shelf.holders(f"{4999:064x}") == ["http://h:1"]
    for number in range(100):
        client.shelf.offer(f"http://h:{number}", [NAME])
    assert len(client.shelf.holders(NAME)) == 8
