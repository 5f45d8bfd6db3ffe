"""The chunked output layer: the numbers and gradients of a plain log-softmax, without its memory."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from services.learner import logprobs as module
from services.learner.logprobs import OutputLayer, logprobs_and_entropy


@dataclass
class Case:
    hidden: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None
    targets: torch.Tensor

    @classmethod
    def made(cls, tokens: int, width: int, vocabulary: int, *, bias: bool = False, dtype=torch.float64) -> "Case":
        generator = torch.Generator().manual_seed(tokens)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

        targets = torch.randint(0, vocabulary, (tokens,), generator=generator)
        return cls(normal(tokens, width), normal(vocabulary, width), normal(vocabulary) if bias else None, targets)

    def leaves(self) -> list[torch.Tensor]:
        return [leaf for leaf in (self.hidden, self.weight, self.bias) if leaf is not None]

    def plain(self, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.hidden @ self.weight.T + (0 if self.bias is None else self.bias)
        logs = (logits.float() / temperature).log_softmax(dim=-1)
        return logs.gather(1, self.targets[:, None]).squeeze(1), -(logs.exp() * logs).sum(dim=-1)

    def chunked(self, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
        return logprobs_and_entropy(self.hidden, OutputLayer(self.weight, self.bias, temperature), self.targets)


@settings(max_examples=40)
@given(
    tokens=st.integers(1, 12),
    vocabulary=st.integers(2, 15),
    at_a_time=st.integers(1, 60),
    temperature=st.sampled_from([0.4, 1.0, 2.0]),
    bias=st.booleans(),
)
def test_numbers_and_gradients_are_those_of_a_log_softmax(tokens, vocabulary, at_a_time, temperature, bias) -> None:
    case = Case.made(tokens, 5, vocabulary, bias=bias)
    weights = torch.linspace(-1, 2, tokens), torch.linspace(1, -1, tokens)

    def gradients(found: tuple[torch.Tensor, torch.Tensor]) -> list[torch.Tensor]:
        total = (found[0] * weights[0] + found[1] * weights[1]).sum()
        return [*found, *torch.autograd.grad(total, case.leaves())]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOGITS", at_a_time)
        chunked = gradients(case.chunked(temperature))
    for ours, theirs in zip(chunked, gradients(case.plain(temperature)), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)


def test_a_frozen_output_layer_gets_no_gradient() -> None:
    case = Case.made(6, 5, 9)
    case.weight.requires_grad_(False)
    case.chunked(1.0)[0].sum().backward()
    assert case.weight.grad is None
    assert case.hidden.grad is not None


def test_under_autocast_products_are_bfloat16_and_the_rest_float32() -> None:
    case = Case.made(6, 32, 50, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        logprobs, entropy = case.chunked(1.0)
    exact = case.plain(1.0)
    assert logprobs.dtype is entropy.dtype is torch.float32
    assert 0 < float((logprobs - exact[0]).detach().abs().max()) < 0.2
    logprobs.sum().backward()
    assert case.weight.grad.dtype is torch.float32


class Largest(TorchDispatchMode):
    """The largest tensor any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, torch.Tensor):
                self.elements = max(self.elements, one.numel())
        return result


@pytest.mark.parametrize(("tokens", "vocabulary"), [(400, 500), (1600, 500), (400, 4000)])
def test_no_tensor_grows_with_tokens_times_vocabulary(monkeypatch, tokens: int, vocabulary: int) -> None:
    monkeypatch.setattr(module, "LOGITS", 20_000)
    case = Case.made(tokens, 4, vocabulary, dtype=torch.float32)
    with Largest() as seen:
        logprobs, entropy = case.chunked(1.0)
        (logprobs.sum() + entropy.sum()).backward()
    assert seen.elements <= max(20_000, case.hidden.numel(), case.weight.numel())
