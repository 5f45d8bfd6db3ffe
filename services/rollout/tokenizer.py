"""Text to ids and ids to pieces, exactly, for any Hugging Face tokenizer.

Invariant: the pieces of a response, one for each sampled id, concatenate to its text without special tokens. The
parser's token spans rest on that.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hiper.config.sections import ModelSettings
from hiper.errors import DependencyError
from hiper.metrics import counter
from hiper.plan_execute import PromptBuilder, PromptInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PromptTooLong", "TurnTokenizer", "load_tokenizer"]

_INCOMPLETE = "\ufffd"
"""What decoding gives for a character of which bytes are missing."""


class PromptTooLong(Exception):  # noqa: N818 - an outcome of the episode, not a defect
    """A prompt exceeds its limit even without history."""


def load_tokenizer(settings: ModelSettings) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of the base model. Raises `DependencyError` if there is none."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # transformers 5 takes the tokenizer of a Qwen2 model for Qwen2's whatever its files say: a vocabulary of its own
    # would be lost without a word.
    loader = PreTrainedTokenizerFast if _names_no_family(Path(settings.path)) else AutoTokenizer
    try:
        tokenizer: PreTrainedTokenizerBase = loader.from_pretrained(settings.path, revision=settings.revision)
    except (OSError, ValueError) as error:
        raise DependencyError(
            f"cannot load the tokenizer of {settings.path}: {str(error).strip().splitlines()[0]}", "check model.path"
        ) from error
    return tokenizer


class TurnTokenizer:
    """Prompts of one style for one model."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", builder: PromptBuilder, max_prompt_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._builder = builder
        self._limit = max_prompt_tokens
        self._silent = frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id}

    def encode(self, shown: PromptInput) -> list[int]:
        """Return the prompt's ids, oldest history left out until it fits. Raises `PromptTooLong`."""
        ids = self._ids(shown)
        if len(ids) > self._limit and shown.history:
            counter("rollout_prompts_shortened_total").inc()
        while len(ids) > self._limit:
            if not shown.history:
                raise PromptTooLong(
                    f"the prompt has {len(ids)} tokens without history, the limit is {self._limit} "
                    "(rollout.sampling.max_prompt_tokens)"
                )
            shown = shown.without_oldest()
            ids = self._ids(shown)
        return ids

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the text each id adds. Special tokens add nothing.

        A token is decoded after those before it, because some tokenizers write a word's blank only there. A character
        whose bytes are spread over several tokens belongs to the last of them.
        """
        pieces: list[str] = []
        context: list[int] = []
        held: list[int] = []  # ids since the last place where the text was whole
        given = 0  # characters of their text that are in `pieces`
        for token in ids:
            if token in self._silent:
                pieces.append("")
                continue
            held.append(token)
            text = self._added(context, held)
            whole = text.rstrip(_INCOMPLETE)
            pieces.append(whole[given:])
            given = max(given, len(whole))
            if whole == text:
                context, held, given = held, [], 0
        if held:  # the response was cut inside a character, or ends with bytes that are none
            pieces[-1] += self._added(context, held)[given:]
        return pieces

    def _added(self, context: list[int], held: list[int]) -> str:
        return self._decode(context + held)[len(self._decode(context)) :]

    def _ids(self, shown: PromptInput) -> list[int]:
        text = self._builder.build(shown)
        if self._builder.is_chat:
            message = [{"role": "user", "content": text}]
            ids = self._tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
        else:
            ids = self._tokenizer.encode(text)
        return [int(token) for token in ids]

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)) if ids else ""


def _names_no_family(folder: Path) -> bool:
    """Whether a saved tokenizer is described by its `tokenizer.json` alone."""
    config = folder / "tokenizer_config.json"
    if not config.is_file():
        return False
    return json.loads(config.read_text()).get("tokenizer_class") in ("TokenizersBackend", "PreTrainedTokenizerFast")
