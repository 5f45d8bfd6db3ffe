"""Log-probabilities and entropies without the logits: the output layer in chunks, forwards and backwards.

The logits of a mini-batch are its largest tensor by far (16,384 tokens of Qwen2.5: 10 GB). Here a chunk of them exists
at a time, and the backward pass makes each chunk again: peak memory is a constant beside the hidden states and the
weight, whatever the vocabulary and however many tokens. The gradient is exact:

    d log p_t / d z = onehot(t) - p          d H / d z = -p (log p + H)          p = softmax(z)
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["LOGITS", "OutputLayer", "logprobs_and_entropy"]

LOGITS = 2**25
"""Logits that exist at a time, unless one token has more: 128 MiB of float32, about 220 tokens of Qwen2.5."""


class OutputLayer(NamedTuple):
    """What makes logits [N, V] of hidden states [N, d]: (hidden @ weight.T + bias) / temperature."""

    weight: Tensor
    """[V, d]"""
    bias: Tensor | None
    """[V]"""
    temperature: float
    """The one tokens were sampled at; > 0."""


def logprobs_and_entropy(hidden: Tensor, layer: OutputLayer, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-probability [N] of `targets` [N] and entropy [N] of their distributions, in nats, float32.

    `hidden` is [N, d]. Products are computed in autocast's type where it is on, everything else in float32.
    """
    result: tuple[Tensor, Tensor] = _Chunked.apply(  # type: ignore[no-untyped-call]
        hidden, layer.weight, layer.bias, targets, layer.temperature
    )
    return result


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        device = hidden.device.type
        ctx.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        ctx.temperature = temperature
        logprobs, entropy = (torch.empty(len(hidden), dtype=torch.float32, device=hidden.device) for _ in range(2))
        with torch.autocast(device, enabled=False):
            layer = OutputLayer(weight.to(ctx.dtype), bias, temperature)
            for part in _chunks(len(hidden), len(weight)):
                logprobs[part], entropy[part] = _evaluate(hidden[part], layer, targets[part])
        ctx.save_for_backward(hidden, weight, bias, targets, entropy)
        return logprobs, entropy

    @staticmethod
    def backward(
        ctx: Any, grad_logprobs: Tensor, grad_entropy: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        hidden, weight, bias, targets, entropy = ctx.saved_tensors
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if wants_hidden else None
        grad_weight = torch.zeros_like(weight) if wants_weight else None
        grad_bias = torch.zeros_like(bias) if wants_bias else None

        def add(part: slice, layer: OutputLayer) -> None:  # a function: its chunk is gone before the next is made
            gradient = _log_softmax(hidden[part], layer)
            probabilities = gradient.exp()
            gradient = gradient.add_(entropy[part, None]).mul_(grad_entropy[part, None])
            gradient = gradient.add_(grad_logprobs[part, None]).neg_().mul_(probabilities)
            gradient = gradient.scatter_add_(1, targets[part, None], grad_logprobs[part, None]).div_(ctx.temperature)
            if grad_bias is not None:
                grad_bias.add_(gradient.sum(dim=0))
            gradient = gradient.to(ctx.dtype)
            if grad_hidden is not None:
                grad_hidden[part] = gradient @ layer.weight
            if grad_weight is not None:
                grad_weight.add_(gradient.T @ hidden[part].to(ctx.dtype))

        with torch.autocast(hidden.device.type, enabled=False):
            layer = OutputLayer(weight.to(ctx.dtype), bias, ctx.temperature)
            for part in _chunks(len(hidden), len(weight)):
                add(part, layer)
        return grad_hidden, grad_weight, grad_bias, None, None


def _chunks(tokens: int, vocabulary: int) -> Iterator[slice]:
    step = max(1, LOGITS // vocabulary)
    return (slice(start, start + step) for start in range(0, tokens, step))


def _evaluate(hidden: Tensor, layer: OutputLayer, targets: Tensor) -> tuple[Tensor, Tensor]:
    logs = _log_softmax(hidden, layer)
    return logs.gather(1, targets[:, None]).squeeze(1), -(logs.exp().mul_(logs)).sum(dim=1)


def _log_softmax(hidden: Tensor, layer: OutputLayer) -> Tensor:
    """[n, V] in float32."""
    logits = (hidden.to(layer.weight.dtype) @ layer.weight.T).float()
    if layer.bias is not None:
        logits += layer.bias
    if layer.temperature != 1:
        logits /= layer.temperature
    return logits.sub_(logits.logsumexp(dim=1, keepdim=True))
