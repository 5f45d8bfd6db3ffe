"""How fast an update was and what it took: tokens per second, the model's FLOPs utilisation, memory.

FLOPs are those the model needs, not those spent: what gradient checkpointing computes twice counts once. A forward pass
over a row of l tokens with R response tokens takes 2 N l + 2 L a l^2 + 2 d V R (N parameters of the layers, L layers,
attention width a, hidden size d, vocabulary V; causal attention sees half of l^2), a backward pass twice that.
"""

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from hiper.config.sections import LearnerSettings
from hiper.gpus import find_gpu
from services.learner.packing import TokenRow

__all__ = ["Shape", "begin", "peak_flops", "speed"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the FLOPs of a language model depend on."""

    layer_parameters: int
    layers: int
    attention_width: int
    hidden: int
    vocabulary: int

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Shape":
        """Read the shape of a causal language model or of its backbone."""
        config, embeddings = model.config, model.get_input_embeddings().weight
        backbone = model.base_model
        layered = sum(parameter.numel() for parameter in backbone.parameters()) - embeddings.numel()
        heads = config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
        return cls(layered, config.num_hidden_layers, heads * head_dim, config.hidden_size, len(embeddings))

    def forward_flops(self, rows: Sequence[TokenRow], *, with_output: bool) -> float:
        """Operations of one forward pass; `with_output`: the response tokens pass the output layer."""
        lengths = [len(row) for row in rows]
        responses = sum(len(row.response) for row in rows) if with_output else 0
        return (
            2.0 * self.layer_parameters * sum(lengths)
            + 2.0 * self.layers * self.attention_width * sum(length * length for length in lengths)
            + 2.0 * self.hidden * self.vocabulary * responses
        )


def begin(device: torch.device) -> None:
    """Forget the peak of memory of earlier updates, where the device keeps one."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def speed(metrics: Mapping[str, float], flops: float, peak: float | None, device: torch.device) -> dict[str, float]:
    """Return tokens/s, MFU where the `peak` in operations/s of all devices is known, and the peak of memory in bytes.

    On a CPU the latter is that of the process since it began.
    """
    seconds = sum(metrics.get(f"seconds_{phase}", 0.0) for phase in ("logprobs", "critic", "actor"))
    found = {"tokens_per_second": metrics["tokens"] / max(seconds, 1e-9)}
    if peak is not None:
        found["mfu"] = flops / max(seconds, 1e-9) / peak
    if device.type == "cuda":
        found["memory_peak_bytes"] = float(torch.cuda.max_memory_allocated(device))
    else:
        found["memory_peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    return found


def peak_flops(settings: LearnerSettings, device: torch.device) -> float | None:
    """Operations/s of one device at most; None where nobody said and the device is not known."""
    if settings.peak_tflops is not None:
        return settings.peak_tflops * 1e12
    gpu = find_gpu(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    if gpu is None:
        return None
    return (gpu.bfloat16_tflops if settings.dtype == "bfloat16" else gpu.float32_tflops) * 1e12
