"""Rows packed one after the other give what each gives alone, in balanced parts."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from learner_made import VOCABULARY, tiny_model
from torch.nn.functional import scaled_dot_product_attention as sdpa

from hiper.errors import DependencyError, RunStateError
from services.learner import attention as attention_module
from services.learner.model import Critic, response_logprobs, set_attention
from services.learner.packing import TokenRow, micro_batches, minibatches, pack

CPU = torch.device("cpu")


def made_rows(shapes: list[tuple[int, int]], seed: int = 0) -> list[TokenRow]:
    random = np.random.default_rng(seed)

    def ids(size: int) -> np.ndarray:
        return random.integers(0, VOCABULARY, size).astype(np.int32)

    return [TokenRow(ids(prompt), ids(response), max(0, response - 2)) for prompt, response in shapes]


def alone(model, row: TokenRow) -> torch.Tensor:
    """Log-probabilities of one row by transformers' own forward pass and eager attention."""
    ids = torch.from_numpy(np.concatenate([row.prompt, row.response]).astype(np.int64))
    logits = model(input_ids=ids[None]).logits[0].log_softmax(dim=-1)
    return logits[len(row.prompt) - 1 : -1].gather(1, ids[len(row.prompt) :, None]).squeeze(1)


SHAPES = [(7, 5), (3, 9), (7, 5), (1, 1), (20, 0), (4, 8), (12, 3)]


@pytest.mark.parametrize("attention", ["packed", "sdpa"])
def test_no_row_sees_another(attention: str) -> None:
    """Values, log-probabilities and the gradient, against one row at a time through eager attention."""
    rows, plain, model = made_rows(SHAPES), tiny_model(), tiny_model()
    set_attention(plain, "eager")
    set_attention(model, attention)
    expected = torch.cat([alone(plain, row) for row in rows])
    found, _ = response_logprobs(model, pack(rows, CPU))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    weights = torch.linspace(-1, 1, len(expected))
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4)


def test_values_of_packed_rows_are_those_of_each_alone() -> None:
    rows, critic = made_rows(SHAPES), Critic.from_causal_lm(tiny_model())
    torch.nn.init.normal_(critic.head.weight)
    together = critic(pack(rows, CPU))
    torch.testing.assert_close(together, torch.cat([critic(pack([row], CPU)) for row in rows]), atol=1e-5, rtol=1e-5)


def test_heads_that_share_keys_are_grouped() -> None:
    rows, model, plain = made_rows(SHAPES), tiny_model(kv_heads=1), tiny_model(kv_heads=1)
    set_attention(plain, "eager")
    expected = torch.cat([alone(plain, row) for row in rows])
    torch.testing.assert_close(response_logprobs(model, pack(rows, CPU))[0], expected, atol=1e-5, rtol=1e-5)


def test_flash_attention_is_called_as_torch_documents_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`varlen_attn` needs a GPU; a stand-in with its signature and meaning gives what the other way gives."""

    def varlen(query, key, value, cu_q, cu_k, max_q, max_k, *, scale, window_size, enable_gqa):
        assert (query.dim(), window_size, max_q, max_k) == (3, (-1, 0), 21, 21)
        assert cu_q.dtype is cu_k.dtype is torch.int32
        parts = []
        for start, end in pairwise(cu_q.tolist()):
            q, k, v = (tensor[start:end].transpose(0, 1) for tensor in (query, key, value))
            parts.append(sdpa(q, k, v, is_causal=True, scale=scale, enable_gqa=enable_gqa).transpose(0, 1))
        return torch.cat(parts)

    monkeypatch.setattr(attention_module, "varlen_attn", varlen)
    boundaries = torch.tensor([0, 4, 8, 29, 30], dtype=torch.int32)
    rows = attention_module._Rows(boundaries, 21, 0.5, groups_heads=True)
    query, key, value = torch.randn(1, 4, 30, 8), torch.randn(1, 2, 30, 8), torch.randn(1, 2, 30, 8)
    flash = attention_module._flash(query, key, value, rows)
    assert flash.shape == (1, 30, 4, 8)
    torch.testing.assert_close(flash, attention_module._by_runs(query, key, value, rows))


def test_a_row_longer_than_the_models_window_is_refused() -> None:
    model = tiny_model()
    for layer in model.model.layers:
        layer.self_attn.sliding_window = 8
    response_logprobs(model, pack(made_rows([(4, 4)]), CPU))
    with pytest.raises(RunStateError, match="a row of 9 tokens in a model that attends to 8"):
        response_logprobs(model, pack(made_rows([(4, 4), (5, 4)]), CPU))


def test_attention_that_is_not_installed_is_one_line() -> None:
    with pytest.raises(DependencyError, match="flash_attention_3") as caught:
        set_attention(tiny_model(), "flash_attention_3")
    assert "\n" not in str(caught.value)


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=80),
    st.integers(20, 400),
    st.sampled_from([1, 2, 3, 4]),
)
def test_parts_cover_every_row_once_within_the_bound(lengths: list[int], max_tokens: int, ranks: int) -> None:
    parts = micro_batches(lengths, np.arange(len(lengths)), max_tokens, ranks)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(lengths)))
    assert len(parts) % ranks == 0
    tokens = [sum(lengths[i] for i in part) for part in parts]
    assert all(total <= max_tokens or len(part) == 1 for total, part in zip(tokens, parts, strict=True))
    if ranks <= len(lengths) and sum(lengths) > max_tokens and max(lengths) < max_tokens // 4:
        assert max(tokens) - min(tokens) <= 2 * max(lengths), "parts are balanced"


def test_mini_batches_are_nearly_equal() -> None:
    minis = minibatches(100, 30, (1, 2))
    assert sorted(np.concatenate(minis).tolist()) == list(range(100))
    assert [len(m) for m in minis] == [25] * 4
