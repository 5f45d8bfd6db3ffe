"""Responses as the reference's parsers and span finder read them (recorded)."""

import json
import os
from pathlib import Path

import pytest

from hiper.plan_execute.blocks import ACTION, SUBGOAL, SWITCH, PieceMap, find_block, value_low_position
from hiper.plan_execute.compat import opens_segment_in_reference, read_as_reference
from hiper.vocabulary import EnvName

GOLDEN = Path(os.environ.get("HIPER_GOLDEN") or Path(__file__).resolve().parents[3] / "shared" / "golden")
FILE = GOLDEN / "parse_cases.json"
CASES = json.loads(FILE.read_text()) if FILE.exists() else {"parse": [], "spans": []}
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="no recorded cases: set HIPER_GOLDEN or lay ../shared/golden")


@pytest.mark.parametrize("env", EnvName)
@pytest.mark.parametrize("case", CASES["parse"], ids=lambda case: case["name"])
def test_environment_side_parser(case, env: EnvName) -> None:
    read = read_as_reference(case["response"], env)
    expected = case[env.value]
    assert (read.action, read.subgoal, read.switch, int(read.valid)) == (
        expected["action"],
        expected["subgoal"],
        expected["switch"],
        expected["valid"],
    )


@pytest.mark.parametrize("case", CASES["spans"], ids=lambda case: case["name"])
def test_spans_and_value_positions(case) -> None:
    tokens = PieceMap(case["pieces"])
    spans = {tag: tokens.tokens(find_block(tokens.text, tag)) for tag in (SWITCH, SUBGOAL, ACTION)}
    for tag, span in spans.items():
        whole = [0, len(case["pieces"])] if tag == ACTION else None  # the reference's fallback for a missing action
        assert (whole if span is None else [span.start, span.end]) == case[f"{tag}_span"]
    position = value_low_position(spans[SWITCH], spans[SUBGOAL], len(case["pieces"]))
    assert position == case["value_positions"]["first_turn"]["v_low_pos"]


@pytest.mark.parametrize("case", CASES["spans"], ids=lambda case: case["name"])
def test_segment_boundaries_of_the_original_trainer(case) -> None:
    assert opens_segment_in_reference("".join(case["pieces"])) == case["is_switch"]
