"""Text to ids and ids to pieces, exactly, for any Hugging Face tokenizer."""

from collections.abc import Sequence

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hiper.config.sections import ModelSettings
from hiper.metrics import counter
from hiper.plan_execute import PromptBuilder, PromptInput

__all__ = ["PromptTooLong", "TurnTokenizer", "load_tokenizer"]

_INCOMPLETE = "\ufffd"
"""What decoding gives for a character of which bytes are missing."""


class PromptTooLong(Exception):  # noqa: N818 - an outcome of the episode, not a defect
    """A prompt exceeds its limit even without history."""


def load_tokenizer(settings: ModelSettings) -> PreTrainedTokenizerBase:
    """Load the tokenizer of the base model."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(settings.path, revision=settings.revision)
    return tokenizer


class TurnTokenizer:
    """Prompts of one style for one model."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, builder: PromptBuilder, max_prompt_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._builder = builder
        self._limit = max_prompt_tokens
        self._special = frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id}

    def encode(self, shown: PromptInput) -> list[int]:
        """Return the prompt's ids, oldest history left out until it fits. Raises `PromptTooLong`."""
        ids = self._ids(shown)
        while len(ids) > self._limit:
            if not shown.history:
                raise PromptTooLong(f"the prompt has {len(ids)} tokens without history; the limit is {self._limit}")
            counter("rollout_prompts_shortened_total").inc()
            shown = shown.without_oldest()
            ids = self._ids(shown)
        return ids

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the text each id adds, so that their concatenation is the text of all; special tokens add nothing.

        A character whose bytes are spread over several tokens belongs to the last of them.
        """
        pieces: list[str] = []
        held: list[int] = []
        for token in ids:
            if token in self._special:
                pieces.append("")
                continue
            held.append(token)
            text = self._decode(held)
            if text.endswith(_INCOMPLETE) and len(held) < _LONGEST_CHARACTER:
                pieces.append("")
            else:
                pieces.append(text)
                held = []
        return pieces

    def _ids(self, shown: PromptInput) -> list[int]:
        text = self._builder.build(shown)
        if self._builder.is_chat:
            message = [{"role": "user", "content": text}]
            ids = self._tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
        else:
            ids = self._tokenizer.encode(text, add_special_tokens=False)
        return [int(token) for token in ids]

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, clean_up_tokenization_spaces=False))


_LONGEST_CHARACTER = 4
"""Bytes of the longest UTF-8 character: more tokens than that are not an incomplete character but invalid bytes."""
