"""Off-policy correction and the watch over log-probabilities: what they do to losses, metrics and alarms."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from learner_made import VOCABULARY, make_trajectory, tiny_model
from pydantic import ValidationError
from structlog.testing import capture_logs

from hiper.config.sections import LearnerSettings, OffPolicySettings, OptimiserSettings
from hiper.metrics import render
from services.learner.losses import importance_weights
from services.learner.model import response_logprobs
from services.learner.packing import pack
from services.learner.rows import TrainRow, rows_of

LOGS = st.floats(-3, 3)
ONE_STEP = {"actor": OptimiserSettings(lr=1e-2, minibatch_rows=1000), "kl_coef": 0.0, "entropy_coef": 0.0}


def sampled_by(shift: float, version: int = 0) -> list[TrainRow]:
    """Rows whose tokens were `shift` nats less likely when they were sampled than the tiny model thinks they are."""
    rows = rows_of((make_trajectory(seed) for seed in range(4)), VOCABULARY)
    with torch.no_grad():
        own = response_logprobs(tiny_model(), pack([row.tokens for row in rows], torch.device("cpu")))[0].numpy()
    parts = np.split(own - np.float32(shift), len(rows))
    return [
        replace(row, behaviour_logprobs=part, policy_version=version) for row, part in zip(rows, parts, strict=True)
    ]


def mean_advantage(rows: list[TrainRow]) -> float:
    return float(np.concatenate([row.advantages[row.mask] for row in rows]).mean())


def alarmed() -> bool:
    said = {f'hiper_learner_alarm{{kind="logprob_mismatch"}} {value}.0': bool(value) for value in (0, 1)}
    return next(on for line, on in said.items() if line in render().decode())


@given(LOGS, LOGS, st.floats(1, 5), st.booleans())
def test_weights_are_ratios_up_to_the_cap(proximal: float, behaviour: float, cap: float, mask: bool) -> None:
    found = importance_weights(torch.tensor([proximal]), torch.tensor([behaviour]), cap=cap, mask=mask)
    ratio = math.exp(proximal - behaviour)
    over = (0.0 if mask else cap) if ratio > cap * (1 + 1e-5) else ratio
    if abs(ratio - cap) > 1e-4 * cap:
        assert found.weights.item() == pytest.approx(over, rel=1e-4)
        assert found.capped.item() == (ratio > cap)


def test_importance_weights_default_to_runs_that_are_off_policy() -> None:
    assert LearnerSettings().importance == "off", "on-policy, as in the paper"
    assert LearnerSettings(max_staleness=1).importance == "truncate"
    behaviour = OffPolicySettings(proximal="behaviour")
    assert LearnerSettings(max_staleness=1, off_policy=behaviour).importance == "off"
    with pytest.raises(ValidationError, match="makes them the same"):
        LearnerSettings(off_policy=OffPolicySettings(proximal="behaviour", importance="mask"))


@pytest.mark.parametrize(("kind", "weight"), [("truncate", 1.5), ("mask", 0.0)])
def test_tokens_over_the_cap_weigh_the_cap_or_nothing(make_trainer, kind: str, weight: float) -> None:
    """Every token is e times as likely as when it was sampled, so every weight is at the cap."""
    off_policy = OffPolicySettings(importance=kind, importance_cap=1.5)
    rows = sampled_by(1.0)
    metrics = make_trainer(off_policy=off_policy, max_staleness=1, **ONE_STEP).update(rows, 0)
    assert metrics["importance_capped_fraction"] == 1.0
    assert metrics["importance_weight"] == pytest.approx(weight)
    assert metrics["policy_loss"] == pytest.approx(-weight * mean_advantage(rows), abs=1e-5)
    assert metrics["ratio"] == pytest.approx(1.0, abs=1e-5), "to the proximal policy, which is recomputed"


def test_weights_below_the_cap_are_exact_and_leave_the_ratio_alone(make_trainer) -> None:
    rows = sampled_by(0.25)
    metrics = make_trainer(max_staleness=1, **ONE_STEP).update(rows, 0)
    assert metrics["importance_weight"] == pytest.approx(math.exp(0.25), rel=1e-4)
    assert metrics["importance_effective_share"] == pytest.approx(1.0, rel=1e-4)
    assert metrics["policy_loss"] == pytest.approx(-math.exp(0.25) * mean_advantage(rows), abs=1e-4)


def test_without_correction_nothing_is_weighed(make_trainer) -> None:
    metrics = make_trainer(**ONE_STEP).update(sampled_by(1.0), 0)
    assert not [name for name in metrics if name.startswith("importance")]


def test_the_ratio_may_be_to_the_policy_that_sampled(make_trainer) -> None:
    rows = sampled_by(0.1)
    metrics = make_trainer(off_policy=OffPolicySettings(proximal="behaviour"), **ONE_STEP).update(rows, 0)
    assert metrics["ratio"] == pytest.approx(math.exp(0.1), rel=1e-4)
    assert metrics["logprob_abs_diff"] == pytest.approx(0.1, rel=1e-3), "the mismatch is measured all the same"


def test_the_alarm_begins_above_the_bound_and_ends_below(make_trainer) -> None:
    trainer = make_trainer(actor=OptimiserSettings(lr=1e-9, minibatch_rows=1000))
    with capture_logs() as logs:
        for shift, expected in ((0.0, False), (0.5, True), (0.5, True), (0.0, False)):
            trainer.update(sampled_by(shift), 0)
            assert alarmed() is expected
    said = [entry["event"] for entry in logs if "log-prob" in entry["event"] or "agree" in entry["event"]]
    assert len(said) == 2, "once when it begins, once when it ends"
    assert "disagree" in said[0]
    assert "again" in said[1]


def test_rows_of_the_current_version_decide_where_there_are_any(make_trainer) -> None:
    """Older rows may differ because the policy has moved, which is no fault."""
    trainer = make_trainer(actor=OptimiserSettings(lr=1e-9, minibatch_rows=1000))
    metrics = trainer.update(sampled_by(0.0, version=3) + sampled_by(0.5, version=2), 3)
    assert not alarmed()
    assert metrics["logprob_mismatch_kl_fresh"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["logprob_mismatch_kl"] > 0.01
    trainer.update(sampled_by(0.5, version=2), 3)
    assert alarmed()
