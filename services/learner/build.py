"""The models of a run, from its settings."""

import os

import torch
from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from hiper.config import RunConfig
from hiper.config.learner import DeepspeedSettings, LearnerSettings
from hiper.errors import ConfigError, DependencyError
from services.learner.lora import add_lora
from services.learner.model import Critic, checkpoint_activations, load_causal_lm, set_attention
from services.learner.trainer import Models, Trainer

__all__ = ["build_trainer", "load_models"]


def build_trainer(config: RunConfig) -> Trainer:
    """Load what `config` asks for and make its optimisers. Raises `DependencyError`, `ConfigError`."""
    settings = config.learner
    device = _prepare_torch(settings, config.seed)
    if settings.backend.name == "torch":
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError(
                "learner.backend 'torch' is one process, and a launcher started several", "use 'deepspeed'"
            )
        return Trainer(load_models(config, device), settings, config.seed)
    return _one_of_a_crew(config, settings.backend, device)


def _one_of_a_crew(config: RunConfig, backend: DeepspeedSettings, device: torch.device) -> Trainer:
    if device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # read when it is imported; else it takes a GPU that is there
    try:
        from services.learner.crew import Crew, FollowingTrainer, LeadingTrainer
        from services.learner.deepspeed_backend import connect
    except ImportError as error:
        raise DependencyError(
            f"learner.backend 'deepspeed': {error}", "pip install 'hiper-rl[learner,deepspeed]', or use 'torch'"
        ) from error
    ranks = connect(device, backend)
    kind = LeadingTrainer if ranks.index == 0 else FollowingTrainer
    return kind(load_models(config, device), config.learner, config.seed, ranks, crew=Crew(ranks))


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
    if settings.device == "cpu" or (settings.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cuda", torch.cuda.current_device())
