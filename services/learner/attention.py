"""Causal attention over rows packed one after the other: no token sees another row.

transformers hands `packed_attention` queries, keys and values of one sequence [1, H, T, D] and, from the caller of the
model, the rows' boundaries under the names its flash attention takes. No mask is made: a T x T mask would cost more
than what packing saves. On GPUs in half precision torch's own variable-length flash attention is used where it runs;
elsewhere every run of equally long rows is one call of scaled dot-product attention.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from hiper.errors import RunStateError
from services.learner.packing import PackedBatch

__all__ = ["PACKED", "boundary_arguments", "packed_attention"]

PACKED = "hiper_packed"
"""Name of this implementation in transformers."""


def boundary_arguments(batch: PackedBatch) -> dict[str, Any]:
    """Keyword arguments of a model's forward pass that tell its attention where rows begin."""
    return {
        "position_ids": batch.positions[None],
        "cu_seq_lens_q": batch.boundaries,
        "cu_seq_lens_k": batch.boundaries,
        "max_length_q": batch.longest,
        "max_length_k": batch.longest,
        "use_cache": False,
    }


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **arguments: Any,
) -> tuple[Tensor, None]:
    """Return [1, T, H, D]; without boundaries the batch is not packed, and attention is plain and causal.

    Raises `RunStateError` for a row longer than the model's attention window.
    """
    boundaries = arguments.get("cu_seq_lens_q")
    if boundaries is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling)
        return plain
    rows = _Rows(boundaries, arguments["max_length_q"], scaling, query.shape[1] != key.shape[1])
    if sliding_window is not None and rows.longest > sliding_window:
        raise RunStateError(
            f"a row of {rows.longest} tokens in a model that attends to {sliding_window}",
            "set learner.attention to flash_attention_2, which knows windows, or shorten prompts",
        )
    query, key, value = _as_computed(query, key, value)
    if _flash_can(query):
        return _flash(query, key, value, rows), None
    return _by_runs(query, key, value, rows), None


class _Rows(NamedTuple):
    """How rows lie in a sequence, and how they attend."""

    boundaries: Tensor
    longest: int
    scaling: float | None
    groups_heads: bool
    """Several query heads share a key."""


def _as_computed(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Rotary embeddings leave float32 behind under autocast."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(device)) for tensor in tensors)


def _flash_can(query: Tensor) -> bool:
    """Torch's flash attention needs half precision, an Ampere or newer, and heads of 256 at most."""
    if not query.is_cuda or query.dtype not in (torch.float16, torch.bfloat16) or query.shape[-1] > 256:
        return False
    return torch.cuda.get_device_capability(query.device) >= (8, 0)


def _flash(query: Tensor, key: Tensor, value: Tensor, rows: _Rows) -> Tensor:
    q, k, v = (tensor[0].transpose(0, 1).contiguous() for tensor in (query, key, value))
    ends, longest = rows.boundaries, rows.longest
    causal = (-1, 0)
    attended = varlen_attn(
        q, k, v, ends, ends, longest, longest, scale=rows.scaling, window_size=causal, enable_gqa=rows.groups_heads
    )
    assert isinstance(attended, Tensor)
    return attended[None]


def _by_runs(query: Tensor, key: Tensor, value: Tensor, rows: _Rows) -> Tensor:
    lengths, counts = torch.unique_consecutive(rows.boundaries.diff(), return_counts=True)
    sizes = (lengths * counts).tolist()
    results = []
    # `split` and not slices: its gradient is one concatenation, a slice's is as large as the whole.
    parts = zip(*(torch.split(tensor[0], sizes, dim=1) for tensor in (query, key, value)), strict=True)
    for count, part in zip(counts.tolist(), parts, strict=True):
        q, k, v = (tensor.unflatten(1, (count, -1)).transpose(0, 1) for tensor in part)
        attended = scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=rows.scaling, enable_gqa=rows.groups_heads
        )
        results.append(attended.transpose(1, 2).flatten(0, 1))
    return torch.cat(results)[None]


AttentionInterface.register(PACKED, packed_attention)
