"""Fixtures of the learner tests."""

import pytest
import torch
from learner_made import tiny_model

from hiper.config.sections import LearnerSettings, OptimiserSettings
from services.learner.model import Critic
from services.learner.trainer import Trainer


@pytest.fixture
def settings() -> LearnerSettings:
    return LearnerSettings(
        dtype="float32",
        device="cpu",
        micro_tokens=80,
        kl_coef=0.01,
        actor=OptimiserSettings(lr=1e-2, epochs=2, minibatch_rows=8),
        critic=OptimiserSettings(lr=1e-2, epochs=2, minibatch_rows=8),
    )


@pytest.fixture
def make_trainer(settings: LearnerSettings):
    torch.set_num_threads(1)

    def make(*, critic: bool = True) -> Trainer:
        kept = Critic.from_causal_lm(tiny_model()) if critic else None
        return Trainer(tiny_model(), kept, tiny_model(), settings, seed=3)

    return make
