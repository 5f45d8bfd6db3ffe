"""What `hiper eval` refuses, in one line and before a model is loaded."""

from dataclasses import replace
from pathlib import Path

import pytest
from command_line import hiper, refused

from hiper.envs.alfworld.synthetic import SyntheticAlfworld
from hiper.envs.panels import dump_panel, make_panel
from hiper.report.checkpoint import find_checkpoint
from hiper.report.evaluation import Conditions, Evaluation


@pytest.fixture
def model(tmp_path: Path) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return str(folder)


def test_what_cannot_be_evaluated_is_said_in_one_line(model: str, tmp_path: Path) -> None:
    refused(hiper("eval", str(tmp_path / "nowhere")), 1, "nowhere")
    refused(hiper("eval", model, "--panel", "alfworld-2.1.2-valid_seen"), 1, "does not fit the data", "data.version")
    refused(hiper("eval", model, "--env", "chess"), 2, "chess", "alfworld")
    refused(hiper("eval", model, "--temperature", "-1"), 2, "hiper eval --help")
    refused(hiper("eval", model, "--against", str(tmp_path / "nowhere")), 1, "nowhere")
    refused(hiper("eval", model, "--out", str(tmp_path / "no" / "report.json")), 1, "cannot write", "--out")


def test_a_panel_brings_its_step_limit_and_a_report_its_model(model: str, tmp_path: Path) -> None:
    path, report = tmp_path / "panel.json", tmp_path / "report.json"
    panel = make_panel(SyntheticAlfworld(), "valid", name="mine", max_steps=7)
    path.write_bytes(dump_panel(panel))
    of_this = Conditions.of(find_checkpoint(model), panel, {"temperature": 0.1})
    of_another = Conditions.of(replace(find_checkpoint(model), sha256="b" * 64), panel, {})
    go_on = ("eval", model, "--panel", str(path), "--out", str(report))
    for conditions, words in ((of_this, "dtype is null there"), (of_another, "another model")):
        Evaluation(conditions).write(report)
        refused(hiper(*go_on), 1, "cannot be gone on with", words)
    report.write_text("{}")
    refused(hiper(*go_on), 1, "no report of `hiper eval`")
