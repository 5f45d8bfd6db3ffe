"""A Qwen3-architecture model small enough to train on two CPU cores, made on the spot from settings and a seed.

Why Qwen3 and not Qwen2: transformers 5 loads its own byte-level tokenizer for every folder of type `qwen2`, whatever
`tokenizer_config.json` names, and would silently read none of our words; and normalised queries and keys learn to copy
in half the steps. Why weights of standard deviation .1: with the usual .02 a model this narrow needs most of the warm
start to leave the plateau at the start .
"""

from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

from hiper.config.sections import WarmstartSettings

__all__ = ["build_model", "save_model"]

_INITIAL_STD = 0.1


def build_model(
    settings: WarmstartSettings, tokenizer: PreTrainedTokenizerBase, *, max_length: int, seed: int
) -> Qwen3ForCausalLM:
    """Return a freshly initialised float32 model for `tokenizer`'s vocabulary; the same `seed` gives the same weights.

    `max_length` is the longest sequence in tokens, prompt and response together.
    """
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        head_dim=settings.hidden_size // settings.heads,
        max_position_embeddings=max_length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=_INITIAL_STD,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return model


def save_model(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Write model and tokenizer in Hugging Face format (safetensors)."""
    model.save_pretrained(directory, safe_serialization=True)
    tokenizer.save_pretrained(directory)
