"""`hiper hae compute`: a file of cases in, a file of advantages out.

The whole path is the platform's own: shaping, estimator, tokens. In paper mode the rewards are taken as they are, and
a case whose rows carry no `switch_probability` has no switch level, which is logged. In default and paper mode an
episode that did not end by itself bootstraps with `v_next` of its last row, or with 0 where the file has none.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hiper import logs
from hiper.advantages.batch import TurnAdvantages, TurnBatch, TurnError
from hiper.advantages.case_schema import Case, CaseRow, read_cases
from hiper.advantages.checks import member
from hiper.advantages.columns import BoolArray, FloatArray, IntArray
from hiper.advantages.hae import HaeConfig, HaeMode, estimate_hae
from hiper.advantages.order import TurnOrder
from hiper.advantages.shaping import KeepPenaltyMode, ShapingConfig, ShapingTurns, shaped_reward
from hiper.advantages.tokens import LevelTokens, TokenRule, TokenTargets, TurnSpans, level_tokens, token_targets
from hiper.durable import JsonValue, write_json
from hiper.errors import DataError, HiperError
from hiper.vocabulary import Level, TokenSpan

__all__ = ["CaseResult", "compute_case", "compute_file"]

_DECIMALS = 6
"""Digits written; the golden vectors have as many."""


@dataclass(frozen=True, eq=False)
class CaseResult:
    """Everything computed for one case."""

    turns: TurnAdvantages
    tokens: TokenTargets

    def as_json(self) -> JsonValue:
        """The `expected` object of the file form."""
        rows: dict[str, JsonValue] = {}
        for level in Level:
            rows[f"adv_{level}"] = _numbers(self.turns.advantages[level])
            rows[f"adv_{level}_raw"] = _numbers(self.turns.raw[level])
            rows[f"ret_{level}"] = _numbers(self.turns.returns[level])
        rows["adv_tokens"] = [_numbers(row) for row in self.tokens.advantages.astype(np.float64)]
        rows["loss_mask"] = [[int(inside) for inside in row] for row in self.tokens.mask]
        return rows


def compute_file(input: Path, output: Path, mode: str = HaeMode.COMPAT) -> None:
    """Compute every case of `input` and write `{"cases": [{"name", "expected"}]}` to `output`.

    Raises:
        ConfigError: `mode` is not compat, default or paper.
        DataError: the input is unusable (names case and field) or the output cannot be written.
    """
    hae_mode = member("--mode", HaeMode, mode)
    results: list[JsonValue] = []
    for case in read_cases(input):
        try:
            results.append({"name": case.name, "expected": compute_case(case, hae_mode).as_json()})
        except HiperError as error:
            raise DataError(f"{input}: case '{case.name}': {error.message}", error.hint) from error
    try:
        write_json(output, {"cases": results})
    except OSError as error:
        raise DataError(f"cannot write {output}: {error.strerror}", "give --output a file in a folder") from error


def compute_case(case: Case, mode: HaeMode) -> CaseResult:
    """Compute one case. Raises `DataError` naming trajectory and turn for a number that is needed and not there."""
    config = _hae_config(case, mode)
    rows = case.rows
    trajectory, turn = _keys(rows)
    tokens = level_tokens(_spans(rows), _token_rule(mode), case.response_width)
    reward = np.array([row.reward for row in rows])
    if mode is not HaeMode.PAPER:
        reward = shaped_reward(_shaping_turns(rows, trajectory, turn), _shaping_config(case))
    try:
        turns = estimate_hae(_batch(rows, reward, tokens), config)
    except TurnError as error:
        raise error.of(rows[error.row].traj, rows[error.row].turn) from error
    high_on = ((Level.HIGH,) if config.assign_high_to_subgoal else ()) + (
        (Level.SWITCH,) if config.assign_high_to_switch else ()
    )
    return CaseResult(turns=turns, tokens=token_targets(tokens, turns.advantages, turns.boundary, high_on))


def _token_rule(mode: HaeMode) -> TokenRule:
    return TokenRule.BLOCKS if mode is HaeMode.COMPAT else TokenRule.ALL


def _hae_config(case: Case, mode: HaeMode) -> HaeConfig:
    cfg = case.cfg
    no_beta = all(row.switch_probability is None for row in case.rows)
    if mode is HaeMode.PAPER and no_beta:
        logs.get().warning("no switch level: rows carry no switch_probability", case=case.name, mode=str(mode))
    return HaeConfig(
        mode=mode,
        gamma=cfg.gamma,
        lam_low=cfg.lam_turn,
        lam_seg=cfg.lam_seg,
        whiten=cfg.norm_adv,
        heads=case.heads,
        bootstrap_truncated=cfg.bootstrap_truncated,
        assign_high_to_subgoal=cfg.assign_high_to_subgoal,
        assign_high_to_switch=cfg.assign_high_to_switch,
        assign_switch=cfg.assign_term_to_switch and not (mode is HaeMode.PAPER and no_beta),
    )


def _shaping_config(case: Case) -> ShapingConfig:
    cfg = case.cfg
    return ShapingConfig(
        success=1.0,  # rewards of the file are scaled already
        keep_penalty=cfg.keep_penalty,
        keep_penalty_mode=KeepPenaltyMode(cfg.keep_penalty_mode),
        invalid_output=cfg.invalid_action_penalty_coef,
        consistency=cfg.keep_consistency_penalty,
        consistency_requires_both=cfg.keep_consistency_requires_both,
    )


def _keys(rows: tuple[CaseRow, ...]) -> tuple[IntArray, IntArray]:
    """Trajectories numbered in order of appearance, and turns."""
    numbers: dict[int | str, int] = {}
    trajectory = [numbers.setdefault(row.traj, len(numbers)) for row in rows]
    return np.array(trajectory, dtype=np.int64), np.array([row.turn for row in rows], dtype=np.int64)


def _spans(rows: tuple[CaseRow, ...]) -> TurnSpans:
    def column(spans: list[tuple[int, int] | None]) -> list[TokenSpan | None]:
        return [None if span is None else TokenSpan(*span) for span in spans]

    return TurnSpans.collect(
        [row.resp_len for row in rows],
        switch=column([row.switch_span for row in rows]),
        subgoal=column([row.subgoal_span for row in rows]),
        action=column([row.action_span for row in rows]),
    )


def _shaping_turns(rows: tuple[CaseRow, ...], trajectory: IntArray, turn: IntArray) -> ShapingTurns:
    inconsistent, missing = _compare_subgoals(rows, TurnOrder.of(trajectory, turn))
    return ShapingTurns(
        trajectory=trajectory,
        turn=turn,
        switch=np.array([row.switch for row in rows], dtype=np.bool_),
        base=np.array([row.reward for row in rows]),
        valid=np.array([row.valid for row in rows], dtype=np.bool_),
        admissible=np.ones(len(rows), dtype=np.bool_),
        inconsistent=inconsistent,
        subgoal_missing=missing,
    )


def _compare_subgoals(rows: tuple[CaseRow, ...], order: TurnOrder) -> tuple[BoolArray, BoolArray]:
    """Which rows' sub-goal token ids differ from the previous turn's, and where one of the two is missing, [rows]."""
    inconsistent, missing = np.zeros((2, len(rows)), dtype=np.bool_)
    for before, row, first in zip(np.roll(order.rows, 1), order.rows, order.first, strict=True):
        if not first:
            written, previous = _subgoal_ids(rows[row]), _subgoal_ids(rows[before])
            missing[row] = not written or not previous
            inconsistent[row] = not missing[row] and written != previous
    return inconsistent, missing


def _subgoal_ids(row: CaseRow) -> tuple[int, ...]:
    """Token ids of the sub-goal block as far as the response reaches."""
    if row.subgoal_span is None:
        return ()
    start, end = row.subgoal_span
    return row.subgoal_tokens[: max(0, min(end, row.resp_len) - start)]


def _batch(rows: tuple[CaseRow, ...], reward: FloatArray, tokens: LevelTokens) -> TurnBatch:
    trajectory, turn = _keys(rows)
    return TurnBatch(
        trajectory=trajectory,
        turn=turn,
        switch=np.array([row.switch for row in rows], dtype=np.bool_),
        reward=reward,
        terminated=np.array([row.done for row in rows], dtype=np.bool_),
        truncated=np.array([not row.done if row.truncated is None else row.truncated for row in rows], dtype=np.bool_),
        v_low=np.array([row.v_low for row in rows]),
        v_high=_optional([row.v_high for row in rows]),
        v_switch=_optional([row.v_term for row in rows]),
        has_action_tokens=tokens.has_action,
        has_subgoal_tokens=tokens.has_subgoal,
        has_switch_tokens=tokens.has_switch,
        truncation_value=_optional([row.v_next for row in rows]),
        previous_v_low=_optional([row.v_low_previous for row in rows]),
        switch_probability=_optional([row.switch_probability for row in rows]),
    )


def _optional(values: list[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _numbers(values: FloatArray) -> list[Any]:
    return [None if np.isnan(value) else round(float(value), _DECIMALS) for value in values]
