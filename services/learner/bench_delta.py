"""Part of `hiper bench weights`: how much of published bfloat16 weights a step of AdamW at 1e-6 changes.

Real steps on a small Qwen2 of the usual initialisation (standard deviation .02, as trained weights have, to within a
factor), float32 master weights published as bfloat16, as the learner does. What counts is how far a number is from the
next one bfloat16 has, so the width of the model does not matter; a trained model's larger numbers change less often.
"""

import tempfile
import time
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.utils.logging import disable_progress_bar

from hiper.bench.timing import BenchOptions, Figure, Report, Say, Target
from hiper.weights.deltas import rebuild, write_deltas
from hiper.weights.manifest import PublishedWeights, read_manifest, write_version
from services.learner.hf_folder import save_model

__all__ = ["run"]

_LR = 1e-6
_WARM_STEPS = 5
"""Steps before the first that is published: AdamW's first steps all have the full size."""
_ROWS, _TOKENS = 4, 64
_SIZES = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 4, "vocab_size": 8192}
_AT_MOST = Target(5.0, at_most=True)
_MODEL = "model.safetensors"


def run(options: BenchOptions, say: Say) -> Report:
    """Measure; one published step a repeat."""
    disable_progress_bar()
    torch.manual_seed(options.seed)
    model = Qwen2ForCausalLM(
        Qwen2Config(**_SIZES, num_attention_heads=8, num_key_value_heads=2, tie_word_embeddings=True)
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=_LR, weight_decay=0.01)
    for _ in range(_WARM_STEPS):
        _step(model, optimiser)
    report = Report("weights", {}, options.repeats, {"delta_parameters": model.num_parameters(), "delta_lr": _LR})
    shares, encode, decode = [], [], []
    with tempfile.TemporaryDirectory(prefix="hiper-bench-") as folder:
        root = Path(folder)
        _publish(root, 0, model)
        for version in range(1, options.repeats + 1):
            say(f"delta: step {version} of {options.repeats}")
            _step(model, optimiser)
            written = _publish(root, version, model)
            started = time.perf_counter()
            delta = write_deltas(root, version - 1, version)
            encode.append(written.bytes / (time.perf_counter() - started) / 1e6)
            assert delta is not None, "a step this small always pays"
            decode.append(written.bytes / _rebuild_s(root, version, delta) / 1e6)
            shares.append(100 * delta.bytes / written.bytes)
    report.figures = [
        Figure("delta of a step at 1e-6, of bfloat16 weights", "%", shares, "repeats", _AT_MOST),
        Figure("delta: written", "MB/s of weights", encode, "repeats"),
        Figure("delta: applied and verified", "MB/s of weights", decode, "repeats"),
    ]
    return report


def _step(model: Qwen2ForCausalLM, optimiser: torch.optim.Optimizer) -> None:
    ids = torch.randint(0, model.config.vocab_size, (_ROWS, _TOKENS))
    model(input_ids=ids, labels=ids).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()


def _publish(root: Path, version: int, model: Qwen2ForCausalLM) -> PublishedWeights:
    return write_version(root, version, lambda directory: save_model(model, directory, torch.bfloat16), {})


def _rebuild_s(root: Path, version: int, delta: PublishedWeights) -> float:
    """Seconds to make the version of the one before; raises if it does not come out bit for bit."""
    file = next(file for file in read_manifest(root / f"v{version:06d}").files if file.name == _MODEL)
    started = time.perf_counter()
    rebuild(file, root / f"v{version - 1:06d}" / _MODEL, delta.directory / f"{_MODEL}.delta", root / "rebuilt")
    return time.perf_counter() - started
