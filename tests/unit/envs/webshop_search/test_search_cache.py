"""The index on the disk: built once, mapped by everybody, and never believed when it is damaged."""

import errno
import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from hiper.envs.webshop.catalogue import Catalogue, open_catalogue
from hiper.envs.webshop.files import find_files
from hiper.envs.webshop.generator import CatalogueSpec, write_catalogue
from hiper.envs.webshop.search import CatalogueSearch, Document, SearchIndex, document_of, runs
from hiper.envs.webshop.search.merging import build_index
from hiper.errors import DataError, IntegrityError

QUERY = "easy care lamp with blue shade"
EAGER = ["vocabulary", "term_ends", "posting_ends", "saturations", "bounds", "checksums", "places"]
LAZY = ["postings", "codes"]


@pytest.fixture
def cached(tmp_path: Path) -> Catalogue:
    """A catalogue that counts as a large one."""
    write_catalogue(tmp_path / "data", CatalogueSpec(60))
    return open_catalogue(find_files(tmp_path / "data"), tmp_path / "cache", small=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = ("red lamp", "blue lamp", "red chair", "lamp lamp lamp")
    build_index(tmp_path / "index", [Document(f"B{number}", text) for number, text in enumerate(texts)])
    return tmp_path / "index"


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_mapped_index_gives_what_one_in_memory_gives(cached: Catalogue) -> None:
    mapped = CatalogueSearch(cached).index
    assert mapped.hits(QUERY, 50) == SearchIndex.build(map(document_of, cached)).hits(QUERY, 50)
    assert len(mapped) == len(cached)


def test_the_index_of_a_small_catalogue_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    write_catalogue(tmp_path / "data", CatalogueSpec(20))
    search = CatalogueSearch(open_catalogue(find_files(tmp_path / "data"), tmp_path / "cache"))
    assert search("lamp", 50) == search.index.search("lamp", 50)
    assert search.folder is None
    assert not (tmp_path / "cache").exists()


def test_it_is_built_at_the_first_search_and_then_mapped(cached: Catalogue) -> None:
    first = CatalogueSearch(cached)
    assert first.folder is not None
    assert not first.folder.exists()
    found = first(QUERY, 10)
    built = (first.folder / "postings.bin").stat().st_mtime_ns
    assert CatalogueSearch(cached)(QUERY, 10) == found
    assert (first.folder / "postings.bin").stat().st_mtime_ns == built


def _search(folder: Path) -> list[int]:
    return CatalogueSearch(open_catalogue(find_files(folder / "data"), folder / "cache", small=0))(QUERY, 10)


def test_processes_that_start_together_share_one_index(tmp_path: Path, cached: Catalogue) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(_search, [tmp_path] * 2)
    assert found == [SearchIndex.build(map(document_of, cached)).search(QUERY, 10)] * 2
    assert cached.folder is not None
    (_,) = (entry for entry in cached.folder.iterdir() if entry.is_dir())


def test_a_disk_that_is_full_is_one_clear_line(cached: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs, "_map", full)
    search = CatalogueSearch(cached)
    with pytest.raises(DataError, match="No space left") as raised:
        search(QUERY, 10)
    assert "HIPER_CACHE" in raised.value.hint
    monkeypatch.undo()
    assert len(search(QUERY, 10)) == 10


@pytest.mark.parametrize("name", EAGER)
def test_a_changed_byte_is_found_when_the_index_is_loaded(folder: Path, name: str) -> None:
    _flip(folder / f"{name}.bin")
    _assert_one_clear_line(folder, name)


@pytest.mark.parametrize("name", [*EAGER, *LAZY])
def test_a_file_cut_short_is_found_when_the_index_is_loaded(folder: Path, name: str) -> None:
    data = (folder / f"{name}.bin").read_bytes()
    (folder / f"{name}.bin").write_bytes(data[:-1])
    _assert_one_clear_line(folder, name)


@pytest.mark.parametrize("name", [*EAGER, *LAZY])
def test_a_missing_file_is_found_when_the_index_is_loaded(folder: Path, name: str) -> None:
    (folder / f"{name}.bin").unlink()
    _assert_one_clear_line(folder, name)


@pytest.mark.parametrize("name", LAZY)
def test_changed_postings_are_found_when_they_are_used(folder: Path, name: str) -> None:
    _flip(folder / f"{name}.bin")
    index = SearchIndex.load(folder)
    with pytest.raises(IntegrityError, match="damaged") as raised:
        index.search("red lamp blue chair", 50)
    assert "built again" in raised.value.hint


def _manifests(whole: dict) -> Iterator[str]:
    yield from ("", "{", "[]", "null", "{}")
    yield json.dumps({**whole, "format": 99})
    yield json.dumps({**whole, "columns": {}})
    yield json.dumps({**whole, "searchable": None})
    for column in whole["columns"]:
        for wrong in ({}, {"kind": "V9", "bytes": 1, "sha256": ""}, None):
            yield json.dumps({**whole, "columns": {**whole["columns"], column: wrong}})


def test_a_manifest_of_any_other_form_is_one_clear_line(folder: Path) -> None:
    whole = json.loads((folder / "manifest.json").read_text())
    for text in _manifests(whole):
        (folder / "manifest.json").write_text(text)
        _assert_one_clear_line(folder)


def _assert_one_clear_line(folder: Path, name: str = "") -> None:
    with pytest.raises(IntegrityError) as raised:
        SearchIndex.load(folder)
    assert str(folder) in raised.value.message
    assert name in raised.value.message
    assert "\n" not in str(raised.value)
    assert "built again" in raised.value.hint


def test_a_deleted_index_is_built_again(cached: Catalogue) -> None:
    search = CatalogueSearch(cached)
    found = search(QUERY, 10)
    assert search.folder is not None
    for file in search.folder.iterdir():
        file.unlink()
    search.folder.rmdir()
    assert CatalogueSearch(cached)(QUERY, 10) == found


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def documents() -> Iterator[Document]:
        yield Document("B1", "red lamp")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        build_index(tmp_path / "index", documents(), run_postings=1)
    assert list(tmp_path.iterdir()) == []
