"""`hiper bench learner`: the policy update on packed rows beside rows padded as the reference pads them, and the memory
of the log-probability step.

Padded: prompts to the left to 2,048 tokens, responses to the right to 512, 16 rows a pass, an attention mask, and the
logits of all 512 response positions at once (method.md, 13; `HiPER-agent: verl/workers/actor/dp_actor.py`). Both sides
run the same model on the same rows, one forward and backward pass, no optimiser. Lengths are those of the reference's
ALFWorld logs (method.md, 11.5). On a GPU the model is larger and computes in bfloat16.
"""

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from hiper.bench.timing import BenchOptions, Figure, Report, Say, Target
from services.learner.logprobs import LOGITS, OutputLayer, logprobs_and_entropy
from services.learner.losses import policy_terms
from services.learner.model import response_logprobs, set_attention
from services.learner.packing import TokenRow, micro_batches, pack

__all__ = ["alfworld_rows", "run"]

_PROMPT, _RESPONSE = 2048, 512
_PADDED_ROWS = 16
_PACKED_TOKENS = 16_384
_ROWS = 32
_MEMORY = ((256, 4_000), (256, 32_000), (1_024, 32_000), (4_096, 32_000), (8_192, 32_000), (1_024, 151_936))
"""(tokens, vocabulary) of the memory figures."""
_PLAIN_UP_TO = 2**25
"""Logits the plain log-softmax is tried with; beyond, only the chunked one is."""

Loss = Callable[[PreTrainedModel, Sequence[TokenRow], Tensor], float]
"""Runs rows forwards and backwards under advantages [N], one per row; returns the mean loss over their tokens."""


def run(options: BenchOptions, say: Say) -> Report:
    """Measure. `options.scale` shrinks the number of rows."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = np.random.default_rng(options.seed)
    model = _model(device, options.seed)
    rows = alfworld_rows(generator, options.times(_ROWS, least=2), model.config.vocab_size)
    advantages = torch.from_numpy(generator.normal(size=len(rows)).astype(np.float32)).to(device)
    lengths = [len(row) for row in rows]
    report = Report("learner", {"source": "random, ALFWorld-like lengths", "seed": options.seed}, options.repeats)
    report.sizes = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "rows": len(rows),
        "tokens": sum(lengths),
        "longest_row": max(lengths),
        "padded_tokens": len(rows) * (_PROMPT + _RESPONSE),
    }
    sides: dict[str, Loss] = {"padded": _padded, "packed": _packed}
    measured = {}
    for name, side in sides.items():
        say(f"{name}: {len(rows)} rows, {options.repeats} times")
        measured[name] = _measure(side, model, rows, advantages, options.repeats)
        report.figures.append(Figure(f"{name}", "tokens/s", measured[name].speeds(sum(lengths)), "repeats"))
    report.figures += _comparison(measured["padded"], measured["packed"])
    for tokens, vocabulary in _MEMORY:
        say(f"memory of the log-probability step: {tokens:,} tokens, vocabulary {vocabulary:,}")
        report.figures += _memory_figures(tokens, vocabulary, device)
    report.notes.append(
        f"the log-probability step makes {LOGITS * 4 / 2**20:.0f} MiB of logits at a time; besides them it holds the "
        "gradients of the hidden states and of the output layer, which is in the figure"
    )
    return report


def alfworld_rows(generator: np.random.Generator, count: int, vocabulary: int) -> list[TokenRow]:
    """Random tokens in the lengths of the reference's ALFWorld logs: prompts mean 760, at most 1,681; responses 42."""
    prompts = generator.normal(760, 240, count).clip(250, 1681).astype(int)
    responses = generator.normal(42, 8, count).clip(20, 120).astype(int)

    def ids(size: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        return generator.integers(1, vocabulary, size, dtype=np.int32)

    return [TokenRow(ids(prompt), ids(response)) for prompt, response in zip(prompts, responses, strict=True)]


@dataclass(frozen=True, slots=True)
class _Measured:
    seconds: list[float]
    loss: float
    gradient_norm: float

    def speeds(self, tokens: int) -> list[float]:
        """Real tokens per second."""
        return [tokens / seconds for seconds in self.seconds]


def _measure(
    side: Loss, model: PreTrainedModel, rows: Sequence[TokenRow], advantages: Tensor, repeats: int
) -> _Measured:
    seconds, loss = [], 0.0
    for _ in range(repeats):
        model.zero_grad(set_to_none=True)
        gc.collect()
        started = time.perf_counter()
        loss = side(model, rows, advantages)
        if advantages.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()])
    return _Measured(seconds, loss, float(norm))


def _comparison(padded: _Measured, packed: _Measured) -> list[Figure]:
    ratios = [slow / fast for slow, fast in zip(padded.seconds, packed.seconds, strict=True)]
    norm = abs(packed.gradient_norm - padded.gradient_norm) / padded.gradient_norm
    equal = Target(1e-4, at_most=True)
    return [
        Figure("packed / padded", "times", ratios, "repeats", Target(2.0)),
        Figure("difference of the losses", "nats", [abs(packed.loss - padded.loss)], "repeats", equal),
        Figure("difference of the gradients' norms", "relative", [norm], "repeats", equal),
    ]


def _packed(model: PreTrainedModel, rows: Sequence[TokenRow], advantages: Tensor) -> float:
    set_attention(model, "packed")
    tokens, total = sum(len(row.response) for row in rows), 0.0
    for part in micro_batches([len(row) for row in rows], np.arange(len(rows)), _PACKED_TOKENS):
        chosen = [rows[i] for i in part]
        sizes = torch.tensor([len(row.response) for row in chosen], device=advantages.device)
        with _autocast(advantages.device):
            logprobs, _ = response_logprobs(model, pack(chosen, advantages.device))
        spread = advantages[torch.from_numpy(part)].repeat_interleave(sizes)
        loss = _surrogate(logprobs, spread, model.config.vocab_size).sum() / tokens
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def _padded(model: PreTrainedModel, rows: Sequence[TokenRow], advantages: Tensor) -> float:
    set_attention(model, "sdpa")
    tokens, total = sum(len(row.response) for row in rows), 0.0
    for start in range(0, len(rows), _PADDED_ROWS):
        chosen = rows[start : start + _PADDED_ROWS]
        ids, real = _pad(chosen, advantages.device)
        positions = (real.cumsum(dim=1) - 1).clamp(min=0)
        with _autocast(advantages.device):
            logits = model(
                input_ids=ids,
                attention_mask=real,
                position_ids=positions,
                use_cache=False,
                logits_to_keep=_RESPONSE + 1,
            ).logits
        logs = logits[:, :-1].float().log_softmax(dim=-1)
        logprobs = logs.gather(2, ids[:, -_RESPONSE:, None]).squeeze(2)
        spread = advantages[start : start + _PADDED_ROWS, None].expand_as(logprobs)
        surrogate = _surrogate(logprobs, spread, model.config.vocab_size)
        loss = (surrogate * real[:, -_RESPONSE:]).sum() / tokens
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def _pad(rows: Sequence[TokenRow], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and mask, [B, 2048 + 512] each."""
    ids = np.zeros((len(rows), _PROMPT + _RESPONSE), dtype=np.int64)
    real = np.zeros_like(ids)
    for i, row in enumerate(rows):
        own = slice(_PROMPT - len(row.prompt), _PROMPT + len(row.response))
        ids[i, own], real[i, own] = np.concatenate([row.prompt, row.response]), 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(real).to(device)


def _surrogate(logprobs: Tensor, advantages: Tensor, vocabulary: int) -> Tensor:
    """Against a policy that knows nothing, so that the loss depends on every log-probability."""
    nothing = torch.full_like(logprobs, -math.log(vocabulary))
    return policy_terms(logprobs, nothing, advantages, clip=(0.2, 0.2), dual_clip=3.0).surrogate


def _memory_figures(tokens: int, vocabulary: int, device: torch.device) -> list[Figure]:
    """Peak of a forward and backward pass over the output layer alone, beyond what it is given."""
    hidden = torch.randn(tokens, 64, device=device, requires_grad=True)
    weight = torch.randn(vocabulary, 64, device=device, requires_grad=True)
    targets = torch.randint(0, vocabulary, (tokens,), device=device)

    def chunked() -> None:
        logprobs, entropy = logprobs_and_entropy(hidden, OutputLayer(weight, None, 1.0), targets)
        (logprobs.sum() + entropy.sum()).backward()  # type: ignore[no-untyped-call]

    def plain() -> None:
        logs = (hidden @ weight.T).log_softmax(dim=-1)
        total = logs.gather(1, targets[:, None]).sum() - (logs.exp() * logs).sum()
        total.backward()  # type: ignore[no-untyped-call]

    sides = {"chunked": chunked} | ({"plain": plain} if tokens * vocabulary <= _PLAIN_UP_TO else {})
    figures = []
    for name, step in sides.items():
        hidden.grad = weight.grad = None
        peak = _peak_bytes(step, device) / 2**20
        figures.append(Figure(f"{name}, {tokens:,} x {vocabulary:,}", "MiB", [peak], "repeats"))
    return figures


def _peak_bytes(step: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return float(np.cumsum(changes).max())


def _model(device: torch.device, seed: int) -> PreTrainedModel:
    """A Qwen2 of 0.9 million parameters, on a GPU one of half a billion."""
    large = device.type == "cuda"
    config = Qwen2Config(
        vocab_size=151_936 if large else 4_000,
        hidden_size=896 if large else 128,
        intermediate_size=4_864 if large else 384,
        num_hidden_layers=24 if large else 2,
        num_attention_heads=14 if large else 4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        initializer_range=0.02 if large else 0.1,
    )
    with torch.random.fork_rng(devices=[device] if large else []):
        torch.manual_seed(seed)
        return Qwen2ForCausalLM(config).to(device)


def _autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
