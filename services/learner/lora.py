"""Low-rank adapters (arXiv 2106.09685): W x becomes W x + (alpha / rank) B A x, and A and B alone are trained.

The model keeps its shape: what is published and exported has the adapters merged into W, so no engine needs to know of
them. Without them it is the model it began as, which makes it its own reference.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel

from hiper.config.sections import LoraSettings
from hiper.errors import ConfigError
from services.learner.packing import PackedBatch, Policy

__all__ = ["LoraLinear", "add_lora", "merged_tensors", "without_adapters"]


class LoraLinear(nn.Module):
    """A linear layer with an adapter, which at first adds nothing."""

    def __init__(self, base: nn.Linear, settings: LoraSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.enabled = True
        self.scale = settings.alpha / settings.rank
        down = torch.empty(settings.rank, base.in_features)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
        self.lora_a = nn.Parameter(down.to(base.weight.device))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, settings.rank, device=base.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer, and the adapter unless it is off."""
        result: Tensor = self.base(x)
        if not self.enabled:
            return result
        return result + self.scale * linear(linear(x, self.lora_a), self.lora_b)

    def merged(self) -> Tensor:
        """Return the weight [out, in] that does the same without an adapter."""
        return self.base.weight + (self.scale * self.lora_b @ self.lora_a).to(self.base.weight.dtype)


def without_adapters(model: PreTrainedModel, policy: Policy) -> Policy:
    """Return what `policy`, which runs `model`, is without the adapters: a reference without weights of its own."""

    def reference(batch: PackedBatch) -> tuple[Tensor, Tensor]:
        with _adapters_off(model):
            return policy(batch)

    return reference


def add_lora(model: PreTrainedModel, settings: LoraSettings, seed: int) -> None:
    """Freeze `model` and put adapters on its layers named in `settings.targets`; the same `seed` gives the same ones.

    Raises `ConfigError` for a target the model does not have.
    """
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    found = set()
    for name, module in list(model.named_modules()):
        target = name.rpartition(".")[2]
        if target in settings.targets and isinstance(module, nn.Linear):
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, target, LoraLinear(module, settings, generator))
            found.add(target)
    if missing := set(settings.targets) - found:
        raise ConfigError(
            f"learner.lora.targets: the model has no linear layer named {', '.join(sorted(missing))}",
            "name layers of its architecture",
        )


def merged_tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the model's state with adapters merged, under the names it has without them. Tied tensors stay one."""
    adapted = {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}
    tensors = {}
    for name, tensor in model.state_dict().items():
        owner, _, leaf = name.rpartition(".")
        if owner in adapted:
            continue  # an adapter's own matrices
        layer, _, last = owner.rpartition(".")
        if last == "base" and layer in adapted:
            tensors[f"{layer}.{leaf}"] = adapted[layer].merged().detach() if leaf == "weight" else tensor
        else:
            tensors[name] = tensor
    return tensors


@contextmanager
def _adapters_off(model: nn.Module) -> Iterator[None]:
    adapters = [module for module in model.modules() if isinstance(module, LoraLinear)]
    for adapter in adapters:
        adapter.enabled = False
    try:
        yield
    finally:
        for adapter in adapters:
            adapter.enabled = True
