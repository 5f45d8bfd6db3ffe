"""Models on disk in Hugging Face format: written from the learner's weights, tokenizer files copied as they are.

A tokenizer is never loaded and saved again: transformers picks its class by the architecture beside it and would write
another one than it read (docs/adr/0007).
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from transformers import PreTrainedModel

from hiper.config.sections import ModelSettings
from hiper.durable import write_json
from hiper.errors import DependencyError
from services.learner.lora import merged_tensors

__all__ = ["copy_files", "save_model", "tokenizer_files"]

_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
    "*.tiktoken",
)
"""One of these is the tokenizer itself."""
_BESIDE = (
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)


def save_model(model: PreTrainedModel, directory: Path, dtype: torch.dtype) -> None:
    """Write `model` in Hugging Face format, adapters merged, with its numbers as `dtype`; tied tensors stay one."""
    cast: dict[int, torch.Tensor] = {}
    tensors = {}
    merged = merged_tensors(model)
    for name, tensor in merged.items():
        if tensor.data_ptr() not in cast:
            cast[tensor.data_ptr()] = tensor.detach().to(dtype)
        tensors[name] = cast[tensor.data_ptr()]
    # Shards of a size at which rollouts have soon one to pass on, and sha256 and network go on side by side.
    model.save_pretrained(directory, state_dict=tensors, max_shard_size="1GB")
    # transformers writes the type of `model`; an engine that trusts it would take twice the memory.
    config = directory / "config.json"
    write_json(config, {**json.loads(config.read_text()), "dtype": str(dtype).removeprefix("torch.")})


def tokenizer_files(settings: ModelSettings) -> list[Path]:
    """Return the tokenizer's files of a model, a folder's or the hub's. Raises `DependencyError` if there is none."""
    folder = _folder(settings)
    found = [path for pattern in _TOKENIZERS for path in sorted(folder.glob(pattern))]
    if not found:
        raise DependencyError(f"'{settings.path}' holds no tokenizer", "check model.path")
    return found + [folder / name for name in _BESIDE if (folder / name).exists()]


def copy_files(files: Sequence[Path], directory: Path) -> None:
    """Copy files into a folder, byte for byte."""
    for file in files:
        shutil.copyfile(file, directory / file.name)


def _folder(settings: ModelSettings) -> Path:
    if Path(settings.path).exists():
        return Path(settings.path)
    try:
        return Path(
            snapshot_download(settings.path, revision=settings.revision, allow_patterns=[*_TOKENIZERS, *_BESIDE])
        )
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise DependencyError(
            f"cannot load the tokenizer of '{settings.path}': {first_line}", "check model.path"
        ) from error
