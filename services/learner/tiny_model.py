"""A Qwen2-architecture model small enough to train on two CPU cores, made on the spot from settings and a seed."""

from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from hiper.config.sections import WarmstartSettings

__all__ = ["build_model", "save_model"]


def build_model(
    settings: WarmstartSettings, tokenizer: PreTrainedTokenizerBase, *, max_length: int, seed: int
) -> Qwen2ForCausalLM:
    """Return a freshly initialised float32 model for `tokenizer`'s vocabulary; the same `seed` gives the same weights.

    `max_length` is the longest sequence in tokens, prompt and response together.
    """
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=max_length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return model


def save_model(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Write model and tokenizer in Hugging Face format (safetensors)."""
    model.save_pretrained(directory, safe_serialization=True)
    tokenizer.save_pretrained(directory)
