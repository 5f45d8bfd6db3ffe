"""A published version is whole, verifiable and written once; readers get exactly what was announced or an error."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hiper.errors import ConfigError, HiperError, IntegrityError, RemoteError
from hiper.weights import (
    FilesystemSource,
    PublishedWeights,
    SourceByScheme,
    prune,
    verify,
    version_directory,
    write_version,
)


def _model(content: bytes = b"weights" * 1000) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        (directory / "model.safetensors").write_bytes(content)
        (directory / "sub").mkdir()
        (directory / "sub" / "config.json").write_text("{}")

    return write


@pytest.fixture
def published(tmp_path: Path) -> PublishedWeights:
    return write_version(tmp_path / "weights", 3, _model(), {"run": "demo"})


def test_a_version_is_complete_and_describes_itself(published: PublishedWeights) -> None:
    assert published.directory.name == "v000003"
    assert published.bytes == 7000 + 2
    manifest = verify(published.directory, published.manifest_sha256)
    assert (manifest.version, dict(manifest.metadata)) == (3, {"run": "demo"})
    assert [file.name for file in manifest.files] == ["model.safetensors", "sub/config.json"]


def test_writing_again_does_not_write(published: PublishedWeights) -> None:
    def must_not_run(_directory: Path) -> None:
        raise AssertionError("the version exists")

    again = write_version(published.directory.parent, 3, must_not_run, {"run": "demo"})
    assert again == published


def test_a_damaged_or_different_version_is_replaced(published: PublishedWeights) -> None:
    root = published.directory.parent
    (published.directory / "model.safetensors").write_bytes(b"short")
    assert write_version(root, 3, _model(), {"run": "demo"}) == published
    other = write_version(root, 3, _model(b"retrained"), {"run": "demo", "attempt": 2})
    assert other.manifest_sha256 != published.manifest_sha256
    verify(other.directory, other.manifest_sha256)


def test_a_failed_write_leaves_no_version_and_no_litter(tmp_path: Path) -> None:
    def fails(directory: Path) -> None:
        (directory / "model.safetensors").write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_version(tmp_path, 1, fails, {})
    assert not version_directory(tmp_path, 1).exists()
    write_version(tmp_path, 1, _model(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["v000001"]


def _flip(directory: Path) -> None:
    (directory / "model.safetensors").write_bytes(b"Weights" + b"weights" * 999)


def _truncate(directory: Path) -> None:
    (directory / "model.safetensors").write_bytes(b"weights" * 999)


def _delete(directory: Path) -> None:
    (directory / "sub" / "config.json").unlink()


def _add(directory: Path) -> None:
    (directory / "extra.safetensors").write_bytes(b"x")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_flip, "model.safetensors"),
        (_truncate, "model.safetensors"),
        (_delete, "config.json"),
        (_add, "extra.safetensors"),
    ],
)
def test_damage_is_found_and_the_file_is_named(
    published: PublishedWeights, damage: Callable[[Path], None], named: str
) -> None:
    damage(published.directory)
    with pytest.raises(IntegrityError, match=named):
        verify(published.directory)


def test_a_rewritten_manifest_does_not_match_the_announcement(published: PublishedWeights) -> None:
    path = published.directory / "manifest.json"
    tree = json.loads(path.read_text()) | {"metadata": {"run": "other"}}
    path.write_text(json.dumps(tree))
    verify(published.directory)
    with pytest.raises(IntegrityError, match="announced"):
        verify(published.directory, published.manifest_sha256)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd"])
def test_a_manifest_cannot_name_files_outside(published: PublishedWeights, name: str) -> None:
    path = published.directory / "manifest.json"
    tree = json.loads(path.read_text())
    tree["files"][0]["name"] = name
    path.write_text(json.dumps(tree))
    with pytest.raises(IntegrityError, match="outside"):
        verify(published.directory)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema_version": 99}'])
def test_a_foreign_manifest_is_refused(published: PublishedWeights, content: str) -> None:
    (published.directory / "manifest.json").write_text(content)
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        verify(published.directory)


def test_prune_keeps_the_newest_and_the_protected(tmp_path: Path) -> None:
    for version in range(6):
        write_version(tmp_path, version, _model(), {})
    (tmp_path / "vocabulary").mkdir()
    assert prune(tmp_path, keep=2, protect={1}) == (0, 2, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v000001", "v000004", "v000005", "vocabulary"]
    assert prune(tmp_path, keep=10) == ()


def test_filesystem_source_returns_the_announced_folder(published: PublishedWeights) -> None:
    uri = published.directory.as_uri()
    assert FilesystemSource().fetch(3, uri, published.manifest_sha256) == published.directory


def test_filesystem_source_names_what_is_wrong(published: PublishedWeights) -> None:
    source, sha256 = FilesystemSource(), published.manifest_sha256

    def fetch(version: int, uri: str) -> None:
        source.fetch(version, uri, sha256)

    cases: list[tuple[int, str, type[HiperError]]] = [
        (4, version_directory(published.directory.parent, 4).as_uri(), RemoteError),
        (4, published.directory.as_uri(), IntegrityError),
        (3, "http://elsewhere/v000003", ConfigError),
    ]
    for version, uri, error in cases:
        with pytest.raises(error, match=str(version)):
            fetch(version, uri)


def test_an_unknown_transport_is_refused() -> None:
    with pytest.raises(ConfigError, match="ftp://"):
        SourceByScheme({"file": FilesystemSource()}).fetch(1, "ftp://host/v1", "")
