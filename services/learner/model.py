"""Actor and critic as functions of padded token batches.

Rows are padded on the right and carry no attention mask: under causal attention no real token sees what follows it.
Only response positions pass the actor's output layer, so prompt logits are never made. Log-probabilities, entropies
and the critic's head are float32 whatever type the layers compute in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from hiper.config.sections import ModelSettings
from hiper.errors import DependencyError

__all__ = ["HEADS", "Critic", "PaddedBatch", "TokenRow", "load_causal_lm", "pad", "read_values", "response_logprobs"]

HEADS = ("low", "high", "switch")
"""Order of the critic's outputs."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenRow:
    """A prompt and its response, as token ids (int32). An empty response is a bare prompt."""

    prompt: NDArray[np.int32]
    response: NDArray[np.int32]
    value_low_position: int = 0
    """Response token whose preceding hidden state gives V_low."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)

    def value_prefix(self) -> "TokenRow":
        """Return the row up to the last token a value is read at: the critic needs no more of it."""
        return TokenRow(self.prompt, self.response[: self.value_low_position], self.value_low_position)


@dataclass(frozen=True, slots=True, eq=False)
class PaddedBatch:
    """Rows padded to one width. B rows, W positions, R response tokens in all, in row order."""

    ids: Tensor
    """[B, W] token ids."""
    predicts: Tensor
    """[B, W] True where the hidden state predicts a response token; R of them."""
    targets: Tensor
    """[R] the response tokens."""
    prompt_end: Tensor
    """[B] position of the last prompt token: V_high and V_switch are read there."""
    low_read: Tensor
    """[B] position V_low is read at."""


def pad(rows: Sequence[TokenRow], device: torch.device) -> PaddedBatch:
    """Lay rows side by side."""
    width = max(len(row) for row in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    predicts = np.zeros((len(rows), width), dtype=bool)
    for i, row in enumerate(rows):
        ids[i, : len(row.prompt)] = row.prompt
        ids[i, len(row.prompt) : len(row)] = row.response
        predicts[i, len(row.prompt) - 1 : len(row) - 1] = True
    prompt_end = np.array([len(row.prompt) - 1 for row in rows])
    low_read = prompt_end + np.array([row.value_low_position for row in rows])
    targets = np.concatenate([row.response for row in rows]).astype(np.int64)
    tensors = [torch.from_numpy(array).to(device) for array in (ids, predicts, targets, prompt_end, low_read)]
    return PaddedBatch(*tensors)


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


def response_logprobs(model: PreTrainedModel, batch: PaddedBatch) -> tuple[Tensor, Tensor]:
    """Return log-probability [R] of every response token and entropy [R] of its distribution, in nats, float32."""
    hidden = model.base_model(input_ids=batch.ids, use_cache=False).last_hidden_state[batch.predicts]
    logits = model.get_output_embeddings()(hidden).float()
    logprobs = torch.log_softmax(logits, dim=-1)
    entropy = -(logprobs.exp() * logprobs).sum(dim=-1)
    return logprobs.gather(1, batch.targets[:, None]).squeeze(1), entropy


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

    def forward(self, batch: PaddedBatch) -> Tensor:
        """Return [B, 3] values: low at `low_read`, high and switch at `prompt_end`."""
        return read_values(self.head, self.backbone(input_ids=batch.ids, use_cache=False).last_hidden_state, batch)


def read_values(head: nn.Linear, hidden: Tensor, batch: PaddedBatch) -> Tensor:
    """Read the three heads off hidden states [B, W, d] at their positions."""
    rows = torch.arange(len(batch.ids), device=hidden.device)
    # Bfloat16 would round a return of 10 to the nearest 1/16.
    with torch.autocast(hidden.device.type, enabled=False):
        low = head(hidden[rows, batch.low_read].float())[:, :1]
        before = head(hidden[rows, batch.prompt_end].float())[:, 1:]
    return torch.cat([low, before], dim=1)
