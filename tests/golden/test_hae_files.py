"""The file form of the advantage computation against the recorded cases: turns, targets, token matrices and masks."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hiper.advantages.compute_cases import compute_file

GOLDEN = Path(os.environ.get("HIPER_GOLDEN") or Path(__file__).resolve().parents[3] / "shared" / "golden")
FILE = GOLDEN / "hae_cases.json"
CASES = json.loads(FILE.read_text())["cases"] if FILE.exists() else []
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="no recorded cases: set HIPER_GOLDEN or lay ../shared/golden")


@pytest.fixture(scope="module")
def computed(tmp_path_factory) -> dict:
    output = tmp_path_factory.mktemp("hae") / "out.json"
    compute_file(FILE, output)
    return {case["name"]: case["expected"] for case in json.loads(output.read_text())["cases"]}


def test_every_case_is_answered(computed) -> None:
    assert list(computed) == [case["name"] for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_everything_recorded_is_reproduced(computed, case) -> None:
    recorded = case.get("expected_without_duplicates", case["expected"])
    found = computed[case["name"]]
    assert set(found) == set(recorded)
    assert found["loss_mask"] == recorded["loss_mask"]
    for field, values in recorded.items():
        np.testing.assert_allclose(
            np.array(found[field], dtype=float), np.array(values, dtype=float), atol=1e-4, rtol=0, err_msg=field
        )


@pytest.mark.parametrize("mode", ["default", "paper"])
def test_the_other_modes_answer_every_case(tmp_path: Path, mode: str) -> None:
    compute_file(FILE, tmp_path / "out.json", mode)
    answers = json.loads((tmp_path / "out.json").read_text())["cases"]
    assert [answer["name"] for answer in answers] == [case["name"] for case in CASES]


def test_default_mode_only_adds_tokens_to_the_loss(computed, tmp_path: Path) -> None:
    compute_file(FILE, tmp_path / "out.json", "default")
    for answer in json.loads((tmp_path / "out.json").read_text())["cases"]:
        wider, blocks = (np.array(found["loss_mask"]) for found in (answer["expected"], computed[answer["name"]]))
        assert (wider >= blocks).all(), answer["name"]
