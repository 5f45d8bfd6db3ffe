"""Fixtures of the learner tests."""

import pytest
import torch
from learner_made import tiny_model
from transformers import PreTrainedModel

from hiper.config.sections import LearnerSettings, OptimiserSettings
from services.learner.model import Critic
from services.learner.trainer import Models, Trainer


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

    def make(*, with_critic: bool = True, model: PreTrainedModel | None = None, **changes) -> Trainer:
        kept = Critic.from_causal_lm(tiny_model()) if with_critic else None
        models = Models(model or tiny_model(), kept, tiny_model())
        return Trainer(models, settings.model_copy(update=changes), seed=3)

    return make
