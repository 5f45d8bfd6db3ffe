"""Supervised fine-tuning on (prompt, response) turns: cross-entropy on the response, for any causal language model.

Rows are padded on the right and need no attention mask: under causal attention no real token sees what follows it. The
order of rows is a function of the seed alone.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import PreTrainedModel

__all__ = ["SftProgress", "SftSettings", "SftTurn", "train_sft"]

_POOL_BATCHES = 16
"""Rows are sorted by length within pools of this many batches: little padding, still well mixed."""


@dataclass(frozen=True, slots=True)
class SftTurn:
    """One demonstrated turn, as token ids. The response includes the end-of-sequence token."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


@dataclass(frozen=True, slots=True)
class SftSettings:
    """AdamW; the rate rises over `warmup_steps`, is flat, and falls linearly to a tenth over the second half."""

    steps: int
    batch_turns: int
    lr: float
    seed: int
    warmup_steps: int = 50
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0

    def rate(self, step: int) -> float:
        """Learning rate of 0-based `step`."""
        rise = min(1.0, (step + 1) / max(1, self.warmup_steps))
        second_half = max(0.0, 2 * step / self.steps - 1)
        return self.lr * rise * (1 - 0.9 * second_half)


@dataclass(frozen=True, slots=True)
class SftProgress:
    """The state after one optimiser step."""

    step: int
    """Steps done."""
    loss: float
    """Mean cross-entropy per response token of this step's rows, in nats."""
    tokens: int
    """Tokens processed since the start, prompts included and padding left out."""
    seconds: float
    """Wall time since the start."""


def train_sft(
    model: PreTrainedModel,
    turns: Sequence[SftTurn],
    settings: SftSettings,
    on_step: Callable[[SftProgress], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Train `model` in place for `settings.steps` steps; `on_step` hears of each. Raises `ValueError` without turns."""
    if not turns:
        raise ValueError("no turns to learn from")
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    model.train()
    started, tokens = clock(), 0
    batches = _batches(turns, settings)
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.rate(step)
        rows = next(batches)
        loss = _response_loss(model, rows)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        optimiser.step()
        tokens += sum(len(row) for row in rows)
        on_step(SftProgress(step + 1, loss.item(), tokens, clock() - started))
    model.eval()


def _batches(turns: Sequence[SftTurn], settings: SftSettings) -> Iterator[list[SftTurn]]:
    """Endless batches; every turn occurs once per epoch but for the rest that fills no batch."""
    generator = torch.Generator().manual_seed(settings.seed)
    size = min(settings.batch_turns, len(turns))
    while True:
        order = torch.randperm(len(turns), generator=generator).tolist()
        batches = []
        for start in range(0, len(order), size * _POOL_BATCHES):
            pool = sorted(order[start : start + size * _POOL_BATCHES], key=lambda index: len(turns[index]))
            batches += [pool[i : i + size] for i in range(0, len(pool) - size + 1, size)]
        for index in torch.randperm(len(batches), generator=generator).tolist():
            yield [turns[i] for i in batches[index]]


def _response_loss(model: PreTrainedModel, rows: Sequence[SftTurn]) -> torch.Tensor:
    """Mean cross-entropy over the response tokens of `rows`; only their positions pass the output layer."""
    width = max(len(row) for row in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    predicts = torch.zeros((len(rows), width), dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row.prompt + row.response)
        predicts[i, len(row.prompt) - 1 : len(row) - 1] = True
    ids, predicts = ids.to(model.device), predicts.to(model.device)
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[predicts]
    logits = model.get_output_embeddings()(hidden)
    return functional.cross_entropy(logits, ids.roll(-1, dims=1)[predicts])
