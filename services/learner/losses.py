"""The losses, as pure functions of tensors (method.md, sections 6 and 10)."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ImportanceWeights", "PolicyTerms", "importance_weights", "k3", "policy_terms", "value_errors"]

_K3_CAP = 10.0
_LOG_RATIO_CAP = 20.0


@dataclass(frozen=True, slots=True)
class PolicyTerms:
    """Per-token terms of the actor's loss, [R] each, not yet masked or averaged."""

    surrogate: Tensor
    """Dual-clip PPO."""
    ratio: Tensor
    clipped_high: Tensor
    """True where the upper clip, or for negative advantages the lower one, removed the gradient."""
    clipped_dual: Tensor
    """True where the dual clip did."""


def policy_terms(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip: tuple[float, float], dual_clip: float
) -> PolicyTerms:
    """Dual-clip PPO per token: -min(r A, clip(r) A), for A < 0 bounded by -dual_clip A.

    `clip` = (eps_low, eps_high): the ratio counts within [1 - eps_low, 1 + eps_high].
    """
    # The bound keeps an infinite ratio from turning a clipped token's zero gradient into NaN.
    ratio = (logprobs - old_logprobs).clamp(-_LOG_RATIO_CAP, _LOG_RATIO_CAP).exp()
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip[0], 1 + clip[1])
    pessimistic = torch.maximum(plain, clipped)
    bounded = torch.minimum(pessimistic, -advantages * dual_clip)
    negative = advantages < 0
    return PolicyTerms(
        surrogate=torch.where(negative, bounded, pessimistic),
        ratio=ratio,
        clipped_high=clipped > plain,
        clipped_dual=negative & (bounded < pessimistic),
    )


@dataclass(frozen=True, slots=True)
class ImportanceWeights:
    """What sampled tokens weigh under the policy that is updated, [R] each."""

    weights: Tensor
    """Factors of the surrogate."""
    capped: Tensor
    """True where the ratio was over the cap."""


def importance_weights(proximal: Tensor, behaviour: Tensor, *, cap: float, mask: bool) -> ImportanceWeights:
    """Return pi_proximal / pi_behaviour per token from their log-probabilities [R], at most `cap`.

    A ratio over the cap counts as the cap, or with `mask` as 0. The other direction needs no bound: a weight near 0
    only takes a token out.
    """
    ratio = (proximal - behaviour).clamp(-_LOG_RATIO_CAP, _LOG_RATIO_CAP).exp()
    capped = ratio > cap
    return ImportanceWeights(torch.where(capped, 0.0, ratio) if mask else ratio.clamp(max=cap), capped)


def k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """Estimate KL(policy || reference) per token as exp(x) - x - 1 with x = ref - policy, capped at 10 (k3)."""
    x = reference_logprobs - logprobs
    return (x.clamp(-_LOG_RATIO_CAP, _LOG_RATIO_CAP).exp() - x - 1).clamp(-_K3_CAP, _K3_CAP)


def value_errors(values: Tensor, targets: Tensor, old_values: Tensor, clip: float | None) -> Tensor:
    """Squared errors [B, heads], 0 where the target is NaN; with `clip`, the worse of plain and clipped."""
    known = torch.isfinite(targets)
    goal = torch.where(known, targets, 0.0)
    errors = (values - goal) ** 2
    if clip is not None:
        old = torch.where(torch.isfinite(old_values), old_values, values.detach())
        errors = torch.maximum(errors, (old + (values - old).clamp(-clip, clip) - goal) ** 2)
    return torch.where(known, errors, 0.0)
