"""Settings of the inference engines of a rollout."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator

from hiper.config.base import Positive, Seconds, Section

__all__ = ["AdapterSettings", "RemoteSettings", "VllmSettings"]

_OURS = frozenset(
    {
        "async_scheduling",
        "dtype",
        "enable_lora",
        "enable_prefix_caching",
        "enforce_eager",
        "generation_config",
        "gpu_memory_utilization",
        "kv_cache_dtype",
        "logprobs_mode",
        "max_lora_rank",
        "max_model_len",
        "max_num_batched_tokens",
        "max_num_seqs",
        "model",
        "pipeline_parallel_size",
        "revision",
        "seed",
        "skip_tokenizer_init",
        "tensor_parallel_size",
        "worker_extension_cls",
    }
)
"""Arguments of vLLM that other settings decide, or that records would be wrong without."""


class AdapterSettings(Section):
    """An adapter that every request uses, on top of the published weights."""

    path: Path
    """Folder with `adapter_config.json` and the adapter's weights (PEFT)."""
    max_rank: Literal[8, 16, 32, 64, 128, 256] = 16
    """Largest rank vLLM makes room for."""


class VllmSettings(Section):
    """vLLM in this process. Its arguments that have no setting here go by their own names into `engine_args`."""

    kv_cache_dtype: Literal["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"] = "auto"
    """Type of the key-value cache; fp8 doubles the tokens that fit, and shows in the log-probability mismatch."""
    pipeline_parallel: Positive = 1
    """Stages one engine is cut into, beside `rollout.tensor_parallel`."""
    max_batched_tokens: Positive = 8192
    """Tokens of one engine step, at least those of the longest prompt with its response."""
    second_weights: bool = True
    """Load a version beside the weights in force, in host memory for one more model, so that generation pauses for the
    exchange alone. Without it, and for quantised models, the pause covers the whole load."""
    adapter: AdapterSettings | None = None
    """A fixed adapter. The learner's own adapters are merged before they are published and need nothing here."""
    engine_args: dict[str, JsonValue] = Field(default_factory=dict)
    """Further arguments of `vllm.AsyncEngineArgs`, e.g. `{quantization: fp8, swap_space: 8}`; held against its fields
    when the engine starts."""

    @field_validator("engine_args")
    @classmethod
    def _are_not_ours(cls, given: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if taken := sorted(_OURS & given.keys()):
            raise ValueError(f"{taken[0]} is set by the platform or by a setting of its own; leave it out")
        return given


class RemoteSettings(Section):
    """vLLM servers of your own (`vllm serve`), each of them for this rollout process alone."""

    urls: Annotated[tuple[Annotated[str, Field(pattern=r"^https?://[^/\s@?#]+$")], ...], Field(max_length=64)] = ()
    """Base URLs. A request goes to the server with the fewest, an update to every one."""
    token_file: Path | None = None
    """File with their API key; read again when it changes."""
    reload: Literal["extension", "vllm"] = "extension"
    """How they load weights: `extension` by our worker extension (services/rollout/README.md), which they must be
    started with; `vllm` by vLLM's own `reload_weights`, which is right on GPUs only."""
    connect_timeout_s: Seconds = 5.0
    """Bound of connecting, and of a look at a server's health."""
    update_timeout_s: Seconds = 300.0
    """Bound of loading one version into one server."""
    unavailable_timeout_s: Seconds = 120.0
    """How long a server may be away before this process ends; its requests wait or go to the others meanwhile."""
