"""Models of random weights for benchmarks: no download, any size, the same for the same seed."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from transformers.utils.logging import disable_progress_bar

__all__ = ["BenchModel"]


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A Qwen2 with words `w0`, `w1`, ... as its vocabulary."""

    hidden: int
    layers: int
    vocabulary: int
    positions: int = 1024
    dtype: torch.dtype = torch.bfloat16

    def write(self, directory: Path, *, seed: int, words: Sequence[str] = ()) -> int:
        """Write weights and tokenizer in Hugging Face format; returns the number of parameters.

        The vocabulary begins with `words`, as far as there is room, and is filled up with `w<number>`.
        """
        disable_progress_bar()
        config = Qwen2Config(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            intermediate_size=3 * self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.hidden // 64,
            num_key_value_heads=self.hidden // 64,
            max_position_embeddings=self.positions,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=0,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = Qwen2ForCausalLM(config).to(self.dtype)
        with contextlib.redirect_stderr(io.StringIO()):
            model.save_pretrained(directory, max_shard_size="64MB")
        known = ["<eos>", "<unk>", *words][: self.vocabulary]
        known += [f"w{number}" for number in range(len(known), self.vocabulary)]
        ids = {word: number for number, word in enumerate(known)}
        tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))  # noqa: S106 - no password
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", unk_token="<unk>").save_pretrained(  # noqa: S106
            directory
        )
        return int(model.num_parameters())
