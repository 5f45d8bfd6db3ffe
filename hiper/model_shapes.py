"""The sizes of language models, from a `config.json` or from a table: what memory and time depend on."""

import json
from dataclasses import dataclass
from pathlib import Path

from hiper.errors import DataError

__all__ = ["ModelShape", "model_shape"]


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A decoder with gated feed-forward layers and grouped heads."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int
    tied: bool
    """The output layer is the embedding."""

    @property
    def layer_parameters(self) -> int:
        """Of all layers together; biases and norms are left out, which are a thousandth."""
        shared_width = self.hidden * self.kv_heads // self.heads
        attention = 2 * self.hidden * (self.hidden + shared_width)
        return self.layers * (attention + 3 * self.hidden * self.feed_forward)

    @property
    def embedding_parameters(self) -> int:
        """Of the embedding, or of an output layer of its own."""
        return self.hidden * self.vocabulary

    @property
    def parameters(self) -> int:
        """Of the whole language model."""
        return self.layer_parameters + self.embedding_parameters * (1 if self.tied else 2)

    @property
    def backbone_parameters(self) -> int:
        """Without an output layer, as in a critic."""
        return self.layer_parameters + self.embedding_parameters

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token in two-byte numbers."""
        return 2 * 2 * self.layers * self.hidden * self.kv_heads // self.heads

    def forward_flops(self, tokens: float, length: float, outputs: float) -> float:
        """Operations of a forward pass over `tokens` in rows of `length`, `outputs` of which pass the output layer."""
        attention = 2.0 * self.layers * self.hidden * length * tokens
        return 2.0 * self.layer_parameters * tokens + attention + 2.0 * self.embedding_parameters * outputs


_QWEN2_5 = {
    "0.5B": ModelShape(896, 24, 14, 2, 4_864, 151_936, tied=True),
    "1.5B": ModelShape(1_536, 28, 12, 2, 8_960, 151_936, tied=True),
    "3B": ModelShape(2_048, 36, 16, 2, 11_008, 151_936, tied=True),
    "7B": ModelShape(3_584, 28, 28, 4, 18_944, 152_064, tied=False),
    "14B": ModelShape(5_120, 48, 40, 8, 13_824, 152_064, tied=False),
    "32B": ModelShape(5_120, 64, 40, 8, 27_648, 152_064, tied=False),
}
"""Sizes of Qwen2.5, from their config.json."""


def model_shape(path: str) -> ModelShape:
    """Return the shape of a local folder or of a known hub name.

    Raises `DataError` for a hub name that is not known: nothing is downloaded to answer.
    """
    folder = Path(path)
    if (folder / "config.json").exists():
        return _read(folder / "config.json")
    family, _, rest = folder.name.partition("-")
    if family == "Qwen2.5" and (size := rest.partition("-")[0]) in _QWEN2_5:
        return _QWEN2_5[size]
    raise DataError(f"the sizes of '{path}' are not known", "give a folder with its config.json as model.path")


def _read(path: Path) -> ModelShape:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        heads = int(tree["num_attention_heads"])
        return ModelShape(
            hidden=int(tree["hidden_size"]),
            layers=int(tree["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(tree.get("num_key_value_heads", heads)),
            feed_forward=int(tree["intermediate_size"]),
            vocabulary=int(tree["vocab_size"]),
            tied=bool(tree.get("tie_word_embeddings", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the config of a language model ({error})", "check model.path") from error
