"""The losses against slow references written from the definitions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from services.learner.losses import k3, policy_terms, value_errors

LOGS = st.floats(-3, 3)


@given(LOGS, LOGS, st.floats(-5, 5), st.sampled_from([0.1, 0.2]), st.sampled_from([0.2, 0.3]))
def test_dual_clip_surrogate(new: float, old: float, advantage: float, low: float, high: float) -> None:
    terms = policy_terms(
        torch.tensor([new], dtype=torch.float64),
        torch.tensor([old], dtype=torch.float64),
        torch.tensor([advantage], dtype=torch.float64),
        clip=(low, high),
        dual_clip=3.0,
    )
    ratio = math.exp(new - old)
    objective = min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)
    if advantage < 0:
        objective = max(objective, 3.0 * advantage)
    assert terms.surrogate.item() == pytest.approx(-objective, abs=1e-9)


def test_no_gradient_where_a_clip_holds() -> None:
    logprobs = torch.tensor([1.0, -1.0, 2.0, 0.0], requires_grad=True)
    advantages = torch.tensor([1.0, -1.0, -1.0, 1.0])
    terms = policy_terms(logprobs, torch.zeros(4), advantages, clip=(0.2, 0.2), dual_clip=3.0)
    terms.surrogate.sum().backward()
    assert (logprobs.grad != 0).tolist() == [False, False, False, True]
    assert terms.clipped_high.tolist() == [True, True, False, False]
    assert terms.clipped_dual.tolist() == [False, False, True, False]


@given(LOGS, LOGS)
def test_k3_is_non_negative_and_zero_only_at_equality(policy: float, reference: float) -> None:
    value = k3(torch.tensor([policy], dtype=torch.float64), torch.tensor([reference], dtype=torch.float64)).item()
    x = reference - policy
    assert value == pytest.approx(min(math.exp(x) - x - 1, 10.0), abs=1e-9)
    assert value >= 0


def test_value_errors_skip_absent_targets_and_take_the_worse_clip() -> None:
    values = torch.tensor([[2.0, 1.0, 5.0]])
    targets = torch.tensor([[0.0, np.nan, 5.0]])
    old = torch.tensor([[0.0, 0.0, 0.0]])
    assert value_errors(values, targets, old, None).tolist() == [[4.0, 0.0, 0.0]]
    assert value_errors(values, targets, old, 0.5).tolist() == [[4.0, 0.0, 20.25]]
