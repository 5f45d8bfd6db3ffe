"""What an update reports about itself: tokens per second, MFU, memory."""

import numpy as np
import pytest
import torch
from learner_made import VOCABULARY, make_trajectory, tiny_model
from torch.utils.flop_counter import FlopCounterMode

from services.learner.model import response_logprobs
from services.learner.packing import TokenRow, pack
from services.learner.rows import rows_of
from services.learner.speed import Shape


def test_operations_are_those_torch_counts() -> None:
    random = np.random.default_rng(0)
    rows = [TokenRow(*(random.integers(0, VOCABULARY, n).astype(np.int32) for n in (10, 6))) for _ in range(5)]
    model = tiny_model()
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        response_logprobs(model, pack(rows, torch.device("cpu")))
    shape = Shape.of(model)
    # Torch counts no attention on CPUs. Causal, its two products need l^2 multiplications and as many additions.
    attention = 2 * shape.layers * shape.attention_width * sum(len(row) ** 2 for row in rows)
    expected = counted.get_total_flops() + attention
    assert shape.forward_flops(rows, with_output=True) == pytest.approx(expected, rel=0.05)


def test_an_update_says_how_fast_it_was_and_what_it_took(make_trainer) -> None:
    rows = rows_of((make_trajectory(seed) for seed in range(4)), VOCABULARY)
    metrics = make_trainer(peak_tflops=1e-3).update(rows, 0)
    seconds = sum(metrics[f"seconds_{phase}"] for phase in ("logprobs", "critic", "actor"))
    assert metrics["tokens_per_second"] == pytest.approx(sum(map(len, rows)) / seconds)
    assert metrics["memory_peak_bytes"] > 1e6
    once = Shape.of(tiny_model()).forward_flops([row.tokens for row in rows], with_output=True)
    # Two epochs of the actor, log-probabilities of its own and of the reference; the critic's two epochs are less.
    assert 8 * once < metrics["mfu"] * seconds * 1e9 < 14 * once
    assert "mfu" not in make_trainer().update(rows, 0), "the peak of a CPU is not known"
