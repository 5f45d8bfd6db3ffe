"""The models of a run, from its settings."""

import torch
from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from hiper.config import RunConfig
from hiper.config.sections import LearnerSettings
from services.learner.lora import add_lora
from services.learner.model import Critic, checkpoint_activations, load_causal_lm, set_attention
from services.learner.trainer import Models, Trainer

__all__ = ["build_trainer", "load_models"]


def build_trainer(config: RunConfig) -> Trainer:
    """Load what `config` asks for and make its optimisers. Raises `DependencyError`, `ConfigError`."""
    device = _prepare_torch(config.learner, config.seed)
    return Trainer(load_models(config, device), config.learner, config.seed)


def load_models(config: RunConfig, device: torch.device) -> Models:
    """Load the actor, the critic if the estimator needs one, and the reference if the loss does.

    Raises `DependencyError`, and `ConfigError` for adapters the model has no place for.
    """
    settings = config.learner
    # Trained weights are float32: a step of 1e-6 is lost in bfloat16, whose neighbouring numbers are 0.4 % apart.
    actor = _prepared(load_causal_lm(config.model, config.model.path, torch.float32, device), settings)
    critic = reference = None
    if config.hae.estimator.needs_critic:
        critic_path = config.model.critic_path or config.model.path
        critic_lm = load_causal_lm(config.model, critic_path, torch.float32, device)
        critic = Critic.from_causal_lm(_prepared(critic_lm, settings))
    if settings.lora is not None:
        add_lora(actor, settings.lora, config.seed)
        reference = actor if settings.kl_coef > 0 else None
    elif settings.kl_coef > 0:
        dtype = getattr(torch, settings.dtype)
        reference = load_causal_lm(config.model, config.model.path, dtype, device).requires_grad_(False)
        set_attention(reference, settings.attention)
    # Greedy sampling has no log-probabilities of its own; the engine records those of the plain softmax.
    return Models(actor, critic, reference, config.rollout.sampling.temperature or 1.0)


def _prepared(model: PreTrainedModel, settings: LearnerSettings) -> PreTrainedModel:
    set_attention(model, settings.attention)
    if settings.gradient_checkpointing:
        checkpoint_activations(model)
    return model


def _prepare_torch(settings: LearnerSettings, seed: int) -> torch.device:
    disable_progress_bar()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(settings.deterministic, warn_only=True)
    if settings.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(settings.device)
