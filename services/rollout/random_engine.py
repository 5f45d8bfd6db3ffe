"""An engine without a model: well-formed plan-execute turns made of the prompt's own words.

For chaos runs, tests and machines without vLLM: every service, arrow and guarantee is the real one, only nothing is
learned. It obeys the contract of an engine exactly: the same prompt and seed give the same response, and the
log-probabilities are those of the choices it made. Unlike a model it ignores the weights, so what a run learns from it
depends on its tasks only, which is what makes two runs comparable bit for bit.
"""

import hashlib
import math
import random
from pathlib import Path
from typing import TYPE_CHECKING

from hiper.plan_execute.blocks import ACTION, SUBGOAL, SWITCH
from hiper.vocabulary import PolicyVersion, StopReason
from services.rollout.engine import Generation, Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["RandomEngine"]

_LONGEST_SLICE = 4
"""Tokens of a sub-goal or an action; an action of the environments' texts is about as long."""


class RandomEngine:
    """See `services.rollout.engine.Engine`. `tokenizer` is the one of the model that would be served."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._version = PolicyVersion(-1)

    async def start(self) -> None:
        """Nothing to start."""

    @property
    def version(self) -> PolicyVersion:
        """See `Engine.version`."""
        return self._version

    async def generate(self, prompt_ids: list[int], sampling: Sampling, request_id: str) -> Generation:
        """See `Engine.generate`."""
        del request_id
        text = hashlib.sha256(repr((prompt_ids, sampling.seed)).encode()).digest()
        draw = _Draw(random.Random(text), prompt_ids)
        decision = draw.one_of(self._ids(" KEEP"), self._ids(" SWITCH"))
        blocks = ((SWITCH, decision), (SUBGOAL, draw.slice()), (ACTION, draw.slice()))
        ids: list[int] = []
        logprobs: list[float] = []
        for tag, (chosen, logprob) in blocks:
            opening, closing = self._ids(f"<{tag}>"), self._ids(f"</{tag}>")
            ids += [*opening, *chosen, *closing]
            # The choice is made with the block's first free token; everything after it follows.
            logprobs += [*[0.0] * len(opening), logprob, *[0.0] * (len(chosen) - 1 + len(closing))]
        if self._tokenizer.eos_token_id is not None:
            ids, logprobs = [*ids, self._tokenizer.eos_token_id], [*logprobs, 0.0]
        stop = StopReason.STOP if len(ids) <= sampling.max_tokens else StopReason.LENGTH
        kept = slice(sampling.max_tokens)
        return Generation(tuple(ids[kept]), tuple(logprobs[kept]), stop, self._version, self._version)

    async def load_weights(self, directory: Path, version: PolicyVersion) -> None:
        """Take note of the version; the files were verified when they were fetched."""
        del directory
        self._version = version

    async def check(self) -> None:
        """It cannot die."""

    async def close(self) -> None:
        """Nothing to end."""

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))


class _Draw:
    """Uniform choices, each with its log-probability."""

    def __init__(self, generator: random.Random, words: list[int]) -> None:
        self._generator = generator
        self._words = words

    def one_of(self, *options: list[int]) -> tuple[list[int], float]:
        return self._generator.choice(options), -math.log(len(options))

    def slice(self) -> tuple[list[int], float]:
        """Neighbouring words of the prompt: now and then an admissible action."""
        start = self._generator.randrange(len(self._words))
        length = self._generator.randint(1, _LONGEST_SLICE)
        return self._words[start : start + length], -math.log(len(self._words) * _LONGEST_SLICE)
