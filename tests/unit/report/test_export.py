"""`hiper export`: whole, verified, and with a card that tells the truth."""

import json
from pathlib import Path

import pytest

from hiper.errors import DataError, IntegrityError
from hiper.report.export import export_model
from hiper.weights.manifest import write_version

FILES = {
    "model.safetensors": b"\x00weights",
    "config.json": b"{}",
    "tokenizer.json": b'{"version": "1.0"}',
    "chat_template.jinja": b"{{ messages }}",
}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    run = tmp_path / "run"

    def fill(directory: Path) -> None:
        for name, content in FILES.items():
            (directory / name).write_bytes(content)

    for version in (3, 4):
        write_version(run / "weights", version, fill, {"run": "r"})
    config = {
        "run": "r",
        "seed": 7,
        "model": {"path": "Qwen/Qwen2.5-1.5B-Instruct"},
        "env": {"name": "alfworld"},
        "hae": {"estimator": {"name": "hae"}},
        "learner": {"actor": {"lr": 1e-6}, "tasks_per_batch": 16, "samples_per_task": 8},
    }
    (run / "config.json").write_text(json.dumps(config))
    row = {"won": 60, "played": 100, "success": 0.6, "low": 0.502, "high": 0.691}
    line = {"version": 3, "split": "valid_seen", "panel": "p", "panel_sha256": "e" * 64, **row}
    worse = {**line, "version": 4, "success": 0.1}
    lines = [{**line, "by_task_type": {"pick": row}}, {**worse, "by_task_type": {}}]
    (run / "evals.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    return run


def test_files_are_those_that_were_published_and_a_card(run_dir: Path, tmp_path: Path) -> None:
    made = export_model(run_dir, tmp_path / "out")
    assert made.version == 4
    assert made.bytes == sum(map(len, FILES.values()))
    assert {path.name for path in made.directory.iterdir()} == {*FILES, "README.md", "hiper_config.json"}
    for name, content in FILES.items():
        assert (made.directory / name).read_bytes() == content
    assert json.loads((made.directory / "hiper_config.json").read_text())["seed"] == 7


def test_the_card_names_origin_settings_and_the_evaluation_of_that_version(run_dir: Path, tmp_path: Path) -> None:
    made = export_model(run_dir, tmp_path / "out", 3)
    card = (made.directory / "README.md").read_text()
    assert card.startswith("---\n")
    assert "base_model: Qwen/Qwen2.5-1.5B-Instruct" in card
    for expected in ("| episodes per batch | 128 |", "| advantage estimator | hae |", made.manifest_sha256):
        assert expected in card
    assert "| pick | 60.0% (50.2% to 69.1%), 60 of 100 |" in card
    assert "10.0%" not in card, "a later version's evaluation"


def test_a_damaged_version_is_not_exported(run_dir: Path, tmp_path: Path) -> None:
    (run_dir / "weights/v000004/model.safetensors").write_bytes(b"\x01weights")
    with pytest.raises(IntegrityError, match=r"model\.safetensors: sha256 differs"):
        export_model(run_dir, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_and_what_is_in_the_way_are_named(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no published weights"):
        export_model(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match=r"version 9 is not on disk — there are 3, 4"):
        export_model(run_dir, tmp_path / "out", 9)
    export_model(run_dir, tmp_path / "out")
    with pytest.raises(DataError, match="exists already"):
        export_model(run_dir, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
