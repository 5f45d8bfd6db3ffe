"""Models are found where people have them, with the settings they were trained under."""

import json
from pathlib import Path

import pytest

from hiper.errors import DataError, IntegrityError
from hiper.report.checkpoint import find_checkpoint
from hiper.report.export import export_model
from hiper.weights.manifest import version_directory, write_version

SETTINGS = {"run": "r", "rollout": {"prompt": {"style": "compact"}}}


def write_model(folder: Path, weights: bytes = b"weights") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    (folder / "model.safetensors").write_bytes(weights)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    for version in (3, 4):
        weights = b"weights of %d" % version
        write_version(run / "weights", version, lambda folder, held=weights: write_model(folder, held), {"run": "r"})
    write_model(run / "model", b"weights of the base")
    (run / "config.json").write_text(json.dumps(SETTINGS))
    return run


def test_a_run_stands_for_its_newest_version(run_dir: Path) -> None:
    newest, third = find_checkpoint(str(run_dir)), find_checkpoint(str(run_dir), 3)
    assert (newest.version, newest.path) == (4, str(version_directory(run_dir / "weights", 4)))
    assert third == find_checkpoint(third.path)
    assert third.sha256 != newest.sha256


def test_versions_base_models_and_exports_know_their_runs_settings(run_dir: Path, tmp_path: Path) -> None:
    exported = export_model(run_dir, tmp_path / "exported").directory
    found = [find_checkpoint(str(path)) for path in (run_dir, run_dir / "model", exported)]
    assert [one.settings for one in found] == [SETTINGS] * 3
    assert found[2].sha256 == found[0].sha256, "an export is the version it is of"
    assert found[1].sha256 != found[0].sha256


def test_a_model_from_elsewhere_has_no_settings(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    found = find_checkpoint(str(tmp_path / "model"))
    assert (found.version, found.settings) == (None, {})
    (tmp_path / "model" / "README.md").write_text("a card")
    assert find_checkpoint(str(tmp_path / "model")).sha256 == found.sha256, "a card is no part of the model"


def test_a_name_on_the_hub_is_passed_on() -> None:
    found = find_checkpoint("Qwen/Qwen2.5-1.5B-Instruct")
    assert (found.path, found.sha256) == ("Qwen/Qwen2.5-1.5B-Instruct", "")


def test_what_is_no_model_is_refused_by_name(run_dir: Path, tmp_path: Path) -> None:
    for name in (str(tmp_path / "nowhere"), "nowhere", "./no/where"):
        with pytest.raises(DataError, match="no model at"):
            find_checkpoint(name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no model"):
        find_checkpoint(str(tmp_path / "empty"))
    with pytest.raises(DataError, match="version 9 is not on disk"):
        find_checkpoint(str(run_dir), 9)
    with pytest.raises(DataError, match="no published versions"):
        find_checkpoint(str(run_dir / "model"), 3)


def test_damaged_weights_are_refused_by_file(run_dir: Path) -> None:
    (version_directory(run_dir / "weights", 4) / "model.safetensors").write_bytes(b"weights of 5")
    with pytest.raises(IntegrityError, match=r"model\.safetensors: sha256 differs"):
        find_checkpoint(str(run_dir))
