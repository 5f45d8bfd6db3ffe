"""The next weights, made ready beside those in force, so that putting them in force takes an exchange of tensors.

`SecondModel` is a second tree of the model's modules with tensors of its own in host memory. In a thread, vLLM's own
layerwise reload fills it while the first generates, so merged and sharded weights come out as vLLM makes them. On a CPU
its kernels' packed copies are made then, a few layers at a time between two steps of the engine: those kernels share
scratch memory and must not run in two threads. To put the new weights in force, tensors and packed copies change places
on a CPU; on a GPU they are copied over the ones in force, whose addresses CUDA graphs have recorded.

Only models whose whole state are parameters, buffers and those packed copies can be made ready like that:
`reason_against` names what stands against one. It costs the model's size once more in host memory.

Runs inside vLLM's worker processes; needs vllm and torch.
"""

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.model_executor.layers.linear import UnquantizedLinearMethod
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, UnquantizedEmbeddingMethod
from vllm.model_executor.model_loader import get_model_loader
from vllm.model_executor.model_loader.reload.layerwise import (
    finalize_layerwise_reload,
    get_layerwise_info,
    initialize_layerwise_reload,
)
from vllm.model_executor.model_loader.reload.meta import to_meta_tensor

__all__ = ["SecondModel", "check_heads", "reason_against"]

_PACKED = "cpu_linear"
"""Where vLLM's CPU layers keep the function that multiplies by their packed weight."""
_NOT_WEIGHTS = frozenset({"kv_cache", "_q_scale_cpu", "_k_scale_cpu", "_v_scale_cpu", "_prob_scale_cpu"})
"""Tensors of attention layers that no checkpoint changes unless the key-value cache is quantised."""
_AS_THEY_ARE = (UnquantizedLinearMethod, UnquantizedEmbeddingMethod, type(None))
"""What makes nothing of loaded weights but packed copies on CPUs."""
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Largest difference of two ways to multiply the same matrices, relative to the largest product."""


def reason_against(model: nn.Module, config: VllmConfig) -> str:
    """Why weights of this model can only be loaded in place; empty if they can be made ready beside it."""
    if config.quant_config is not None:
        return "the model is quantised"
    if config.cache_config.cache_dtype.startswith("fp8"):
        return "the key-value cache is quantised"
    if config.lora_config is not None:
        return "the engine makes room for adapters"
    for name, module in model.named_modules():
        if not isinstance(method := getattr(module, "quant_method", None), _AS_THEY_ARE):
            return f"{name} keeps its weights as {type(method).__name__} does"
        for attribute, value in vars(module).items():
            if isinstance(value, torch.Tensor) and attribute not in _NOT_WEIGHTS:
                return f"{name}.{attribute} is a tensor outside of its module's parameters"
    return ""


class SecondModel:
    """A second set of weights for `model`: `load`, `pack` until it is done, `put_in_force`, and again."""

    def __init__(self, model: nn.Module, config: VllmConfig) -> None:
        self._model = model
        self._config = config
        self._second = _second_tree(model)
        self._to_pack: list[tuple[str, nn.Module, nn.Module]] = []
        self._packed: list[tuple[nn.Module, Callable[..., torch.Tensor]]] = []

    @torch.no_grad()
    def load(self, directory: str) -> None:
        """Fill the second set from the checkpoint in `directory`, in any thread. Raises what vLLM raises."""
        model_config = copy.copy(self._config.model_config)
        model_config.model, model_config.model_weights, model_config.revision = directory, "", None
        loader, second = get_model_loader(self._config.load_config), cast("Any", self._second)
        self._packed.clear()
        initialize_layerwise_reload(second)
        try:
            second.load_weights(loader.get_all_weights(model_config, second))
        finally:
            finalize_layerwise_reload(second, model_config)
        named = zip(self._model.named_modules(), self._second.modules(), strict=True)
        self._to_pack = [(name, module, twin) for (name, module), twin in named if _PACKED in vars(module)]

    @torch.no_grad()
    def pack(self, budget_s: float) -> bool:
        """Make packed copies for about `budget_s`, on the engine's own thread; True once there is nothing left to do.

        Raises RuntimeError for a head that would not compute with the new weights.
        """
        enough = time.monotonic() + budget_s
        while self._to_pack and time.monotonic() < enough:
            name, module, twin = self._to_pack.pop()
            with_new = copy.copy(module)
            vars(with_new)["_parameters"] = dict(vars(twin)["_parameters"])
            cast("Any", module.quant_method).process_weights_after_loading(with_new)
            if isinstance(with_new, ParallelLMHead):
                _check_head(name, with_new)
            self._packed.append((module, vars(with_new)[_PACKED]))
        return not self._to_pack

    @torch.no_grad()
    def put_in_force(self) -> None:
        """Let the model compute with what `load` brought."""
        pairs = zip(self._model.modules(), self._second.modules(), strict=True)
        tensors = {id(mine): (mine, second) for one, other in pairs for mine, second in _tensor_pairs(one, other)}
        for mine, second in tensors.values():  # each once: a tied head shares the embedding's
            if not mine.is_cpu:
                mine.data.copy_(second.data, non_blocking=True)
            elif mine.shape == second.shape:  # else a packed copy has taken its place
                mine.data, second.data = second.data, mine.data
        # The old packed copies stay here until the next load: to free them takes time that is not the pause's.
        self._packed = [(module, _exchange(vars(module), new)) for module, new in self._packed]
        if any(not mine.is_cpu for mine, _ in tensors.values()):
            torch.accelerator.synchronize()


def check_heads(model: nn.Module) -> None:
    """Pack tied heads anew and prove each. Raises RuntimeError for one that computes with other weights than its own.

    A head that is tied to the embedding has no tensor of its own in a checkpoint, so nothing else makes its packed
    copy again.
    """
    for name, head in model.named_modules():
        if isinstance(head, ParallelLMHead):
            head.quant_method.process_weights_after_loading(head)
            _check_head(name, head)


@torch.no_grad()
def _check_head(name: str, head: ParallelLMHead) -> None:
    weight = head.weight
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(4, weight.shape[1], generator=generator).to(device=weight.device, dtype=weight.dtype)
    got = head.quant_method.apply(head, probe, bias=None).float()
    expected = torch.nn.functional.linear(probe.float(), weight.float())
    difference = (got - expected).abs().max().item()
    bound = _TOLERANCE.get(weight.dtype, 5e-2) * max(expected.abs().max().item(), 1e-6)
    if not difference <= bound:
        raise RuntimeError(f"{name} does not compute with the weights just loaded: off by {difference:.3g}")


def _exchange(attributes: dict[str, Any], new: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    old: Callable[..., torch.Tensor] = attributes[_PACKED]
    attributes[_PACKED] = new
    return old


def _second_tree(model: nn.Module) -> nn.Module:
    """Copies of all modules, with tensors of their own in host memory; what was one object is one object again."""
    tensors: dict[int, torch.Tensor] = {}
    modules: dict[nn.Module, nn.Module] = {module: copy.copy(module) for module in model.modules()}
    for module, twin in modules.items():
        _remember_checkpoint_format(module, twin)
        shapes = {name: tensor.shape for name, tensor in get_layerwise_info(twin).restore_metadata[0].items()}
        for kind in ("_parameters", "_buffers"):
            vars(twin)[kind] = {
                name: None
                if tensor is None
                else tensors.setdefault(id(tensor), _host_copy(tensor, shapes.get(name, tensor.shape)))
                for name, tensor in vars(module)[kind].items()
            }
        vars(twin)["_modules"] = {
            name: None if child is None else modules[child] for name, child in vars(module)["_modules"].items()
        }
        vars(twin)["_non_persistent_buffers_set"] = set(module._non_persistent_buffers_set)
        vars(twin)["quant_method"] = None  # nothing is made of the weights in the thread that loads them
    return modules[model]


def _remember_checkpoint_format(module: nn.Module, twin: nn.Module) -> None:
    """Tell vLLM's reload what the twin's tensors look like in a checkpoint: as the module's do."""
    info = get_layerwise_info(twin)
    parameters, buffers = get_layerwise_info(module).restore_metadata
    info.restore_metadata = (
        {name: to_meta_tensor(tensor) for name, tensor in parameters.items()},
        {name: to_meta_tensor(tensor) for name, tensor in buffers.items()},
    )
    info.restore_device = torch.device("cpu")


def _host_copy(tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """A tensor in host memory, page-locked where it will go to a GPU, with the other's class and attributes.

    `shape` differs from the tensor's if vLLM gave its weight up for a packed copy; then there is nothing to copy.
    """
    made = torch.empty(shape, dtype=tensor.dtype, device="cpu", pin_memory=not tensor.is_cpu)
    if tensor.shape == shape:
        made.copy_(tensor.data)
    made.__class__ = tensor.__class__
    made.__dict__ = tensor.__dict__.copy()
    return made


def _tensor_pairs(one: nn.Module, other: nn.Module) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for kind in ("_parameters", "_buffers"):
        for name, tensor in vars(one)[kind].items():
            if tensor is not None:
                yield tensor, vars(other)[kind][name]
