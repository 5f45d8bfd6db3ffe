"""Actor and critic as functions of packed token batches.

Only response positions pass the actor's output layer, so prompt logits are never made. Log-probabilities, entropies
and the critic's head are float32 whatever type the layers compute in.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from hiper.config.sections import ModelSettings
from hiper.errors import DependencyError
from services.learner.attention import PACKED, boundary_arguments
from services.learner.logprobs import OutputLayer, logprobs_and_entropy
from services.learner.packing import PackedBatch

__all__ = [
    "HEADS",
    "Actor",
    "Critic",
    "checkpoint_activations",
    "load_causal_lm",
    "read_values",
    "response_logprobs",
    "set_attention",
]

HEADS = ("low", "high", "switch")
"""Order of the critic's outputs."""


def load_causal_lm(settings: ModelSettings, path: str, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """Load a causal language model in Hugging Face format, dropout off. Raises `DependencyError` in one line."""
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            path, revision=settings.revision, dtype=dtype, local_files_only=Path(path).exists()
        )
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise DependencyError(f"cannot load the model '{path}': {first_line}", "check model.path") from error
    return model.to(device).eval()


def set_attention(model: PreTrainedModel, attention: str) -> None:
    """Choose how `model` attends (`learner.attention`). Raises `DependencyError` where the package is missing."""
    try:
        model.set_attn_implementation(PACKED if attention == "packed" else attention)
    except (ImportError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise DependencyError(
            f"learner.attention '{attention}': {first_line}", "use learner.attention packed"
        ) from error


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Keep one activation a layer for the backward pass. Dropout stays off: no other module enters training mode."""
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.training = True


class Actor(nn.Module):
    """A language model as a policy: log-probabilities and entropies of responses."""

    def __init__(self, model: PreTrainedModel, temperature: float = 1.0) -> None:
        """`temperature` is the one tokens were sampled at: the policy is what samples."""
        super().__init__()
        self.model = model
        self.temperature = temperature

    def forward(self, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """Return log-probability [R] of every response token and entropy [R], in nats, float32."""
        return response_logprobs(self.model, batch, self.temperature)


def response_logprobs(model: PreTrainedModel, batch: PackedBatch, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return log-probability [R] of every response token and entropy [R] of its distribution, in nats, float32.

    `temperature` is the one the tokens were sampled at: the policy is what samples.
    """
    hidden = _hidden_states(model.base_model, batch)[batch.predicts]
    output = model.get_output_embeddings()
    layer = OutputLayer(output.weight, getattr(output, "bias", None), temperature)
    return logprobs_and_entropy(hidden, layer, batch.targets)


def _hidden_states(backbone: PreTrainedModel, batch: PackedBatch) -> Tensor:
    """[T, d]"""
    hidden: Tensor = backbone(input_ids=batch.ids[None], **boundary_arguments(batch)).last_hidden_state[0]
    return hidden


class Critic(nn.Module):
    """A backbone of its own and one linear head with three outputs (method.md, section 6). The head starts at zero."""

    def __init__(self, backbone: PreTrainedModel) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.config.hidden_size, len(HEADS), dtype=torch.float32)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @classmethod
    def from_causal_lm(cls, model: PreTrainedModel) -> "Critic":
        """Take over the backbone of `model`; its output layer is dropped."""
        device = model.device
        return cls(model.base_model).to(device)

    def forward(self, batch: PackedBatch) -> Tensor:
        """Return [B, 3] values: low at `low_read`, high and switch at `prompt_end`."""
        return read_values(self.head, _hidden_states(self.backbone, batch), batch)


def read_values(head: nn.Linear, hidden: Tensor, batch: PackedBatch) -> Tensor:
    """Read the three heads off hidden states [T, d] at their positions."""
    # Bfloat16 would round a return of 10 to the nearest 1/16.
    with torch.autocast(hidden.device.type, enabled=False):
        low = head(hidden[batch.low_read].float())[:, :1]
        before = head(hidden[batch.prompt_end].float())[:, 1:]
    return torch.cat([low, before], dim=1)
