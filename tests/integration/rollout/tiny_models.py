"""A tiny Qwen2 checkpoint with sharp, seed-dependent distributions, and its log-probabilities by transformers."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

VOCAB = 131
EOS = 2


def write_checkpoint(directory: Path, *, seed: int, hidden: int = 64) -> Qwen2ForCausalLM:
    """Tied embeddings, as in the small Qwen2.5 models: the case vLLM's own reload gets wrong on CPUs."""
    config = Qwen2Config(
        vocab_size=VOCAB,
        hidden_size=hidden,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=EOS,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)
    model.save_pretrained(directory, safe_serialization=True)
    _tokenizer().save_pretrained(directory)
    return model


def logprobs_of(
    model: Qwen2ForCausalLM, prompt: Sequence[int], response: Sequence[int], temperature: float
) -> list[float]:
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *response]])).logits[0] / temperature
    table = logits.log_softmax(-1)
    return [table[len(prompt) - 1 + index, token].item() for index, token in enumerate(response)]


def _tokenizer() -> PreTrainedTokenizerFast:
    words = {"<unk>": 0, "<pad>": 1, "<eos>": EOS} | {f"w{index}": index for index in range(3, VOCAB)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="<eos>")
