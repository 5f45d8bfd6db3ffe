"""Advantages and critic targets, turn by turn, as the original implementation computes them (recorded; mode compat)."""

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hiper.advantages.batch import TurnBatch
from hiper.advantages.hae import CriticHeads, HaeConfig, HaeMode, estimate_hae
from hiper.advantages.shaping import KeepPenaltyMode, ShapingConfig, ShapingTurns, shaped_reward
from hiper.vocabulary import Level

GOLDEN = Path(os.environ.get("HIPER_GOLDEN") or Path(__file__).resolve().parents[3] / "shared" / "golden")
FILE = GOLDEN / "hae_cases.json"
CASES = json.loads(FILE.read_text())["cases"] if FILE.exists() else []
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="no recorded cases: set HIPER_GOLDEN or lay ../shared/golden")


def column(rows, name: str, kind=float):
    return np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=kind)


def drift(rows) -> tuple[list[bool], list[bool]]:
    """Whether a row's sub-goal differs from that of the turn before, and whether one of the two is missing."""
    order = sorted(range(len(rows)), key=lambda i: (rows[i]["traj"], rows[i]["turn"]))
    differs, missing = [False] * len(rows), [False] * len(rows)
    seen: set[tuple[int, int]] = set()
    distinct = [i for i in order if (key := (rows[i]["traj"], rows[i]["turn"])) not in seen and not seen.add(key)]
    for before, now in pairwise(distinct):
        if rows[before]["traj"] == rows[now]["traj"]:
            absent = rows[before]["subgoal_span"] is None or rows[now]["subgoal_span"] is None
            missing[now] = absent
            differs[now] = not absent and rows[before]["subgoal_tokens"] != rows[now]["subgoal_tokens"]
    return differs, missing


def shaped(case) -> np.ndarray:
    rows, cfg = case["rows"], case["cfg"]
    differs, missing = drift(rows)
    turns = ShapingTurns(
        trajectory=column(rows, "traj", int),
        turn=column(rows, "turn", int),
        switch=column(rows, "switch", bool),
        base=column(rows, "reward"),
        valid=column(rows, "valid", bool),
        admissible=np.ones(len(rows), dtype=bool),
        inconsistent=differs,
        subgoal_missing=missing,
    )
    config = ShapingConfig(
        success=1.0,
        keep_penalty=cfg["keep_penalty"],
        keep_penalty_mode=KeepPenaltyMode(cfg["keep_penalty_mode"]),
        invalid_output=cfg["invalid_action_penalty_coef"],
        consistency=cfg["keep_consistency_penalty"],
        consistency_requires_both=cfg["keep_consistency_requires_both"],
    )
    return shaped_reward(turns, config)


def owns(row, span: str) -> bool:
    return row[span] is not None and row[span][0] < min(row[span][1], row["resp_len"])


def estimate(case):
    rows, cfg = case["rows"], case["cfg"]
    batch = TurnBatch(
        trajectory=column(rows, "traj", int),
        turn=column(rows, "turn", int),
        switch=column(rows, "switch", bool),
        reward=shaped(case),
        terminated=column(rows, "done", bool),
        truncated=~column(rows, "done", bool),
        v_low=column(rows, "v_low"),
        v_high=column(rows, "v_high"),
        v_switch=column(rows, "v_term"),
        has_action_tokens=[
            row["resp_len"] > 0 and (row["action_tag_missing"] or owns(row, "action_span")) for row in rows
        ],
        has_subgoal_tokens=[owns(row, "subgoal_span") for row in rows],
        has_switch_tokens=[owns(row, "switch_span") for row in rows],
    )
    config = HaeConfig(
        mode=HaeMode.COMPAT,
        gamma=cfg["gamma"],
        lam_low=cfg["lam_turn"],
        lam_seg=cfg["lam_seg"],
        whiten=cfg["norm_adv"],
        heads=CriticHeads(case["heads"]),
        bootstrap_truncated=cfg["bootstrap_truncated"],
        assign_high_to_subgoal=cfg["assign_high_to_subgoal"],
        assign_high_to_switch=cfg["assign_high_to_switch"],
        assign_switch=cfg["assign_term_to_switch"],
    )
    return estimate_hae(batch, config)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
@pytest.mark.parametrize("level", Level)
def test_turns_match_the_original(case, level: Level) -> None:
    expected = case.get("expected_without_duplicates") or case["expected"]
    found = estimate(case)
    for name, values in (
        (f"adv_{level}", found.advantages),
        (f"adv_{level}_raw", found.raw),
        (f"ret_{level}", found.returns),
    ):
        recorded = np.array([np.nan if value is None else value for value in expected[name]], dtype=float)
        if level in values:
            np.testing.assert_allclose(values[level], recorded, atol=1e-4, rtol=0, err_msg=name)
        else:
            assert np.isnan(recorded).all(), name
