"""Training by DeepSpeed's ZeRO over several processes, which `torchrun` or `deepspeed` starts.

The optimiser is torch's AdamW, the clipping DeepSpeed's, the losses are those of the other backend: over the same rows
the two differ by the order of sums. What a checkpoint holds is whole and has torch's names, so a run resumes on
another number of processes, another stage, or one process alone.
"""

import datetime
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.utils import (
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)
from torch import Tensor, nn

from hiper.config.learner import DeepspeedSettings, LearnerSettings, OptimiserSettings
from services.learner.backend import Tensors, named_tensors, restore_model
from services.learner.ranks import DistributedRanks

__all__ = ["DeepspeedBackend", "connect"]

_MOMENTS = ("exp_avg", "exp_avg_sq")


def connect(device: torch.device, settings: DeepspeedSettings) -> DistributedRanks:
    """Join the other processes, by the environment their launcher made; alone without one."""
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"), ("MASTER_ADDR", "127.0.0.1")):
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_PORT", "0" if os.environ["WORLD_SIZE"] == "1" else "29500")
    # Of functions DeepSpeed calls for every layer: a line in the log each time.
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
    if device.type == "cpu":
        # DeepSpeed would compile collectives of its own here: a minute, or an end where there is no compiler.
        deepspeed.ops.__compatible_ops__ = {}
    deepspeed.init_distributed(
        "nccl" if device.type == "cuda" else "gloo",
        auto_mpi_discovery=False,
        timeout=datetime.timedelta(seconds=settings.collective_timeout_s),
    )
    return DistributedRanks(device)


class DeepspeedBackend:
    """A model under ZeRO. See `Backend`."""

    def __init__(self, module: nn.Module, model: nn.Module, optimiser: OptimiserSettings, run: LearnerSettings) -> None:
        assert isinstance(run.backend, DeepspeedSettings)
        self.model = model
        self.learning_rate = optimiser.lr
        self._stage = run.backend.stage
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        adam = torch.optim.AdamW(
            self._trained, lr=optimiser.lr, betas=optimiser.betas, weight_decay=optimiser.weight_decay
        )
        self._engine, *_ = deepspeed.initialize(
            model=module, optimizer=adam, config=_config(run.backend, optimiser.max_grad_norm, run.dtype)
        )

    def forward(self, batch: Any) -> Any:
        """Run the model."""
        return self._engine(batch)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add the gradient of `loss`."""
        self._engine.set_gradient_accumulation_boundary(last)
        # DeepSpeed averages over ranks; ours is a sum.
        self._engine.backward(loss * dist.get_world_size(), scale_wrt_gas=False)

    def step(self) -> float:
        """Take a step unless the gradient is not finite; return its norm."""
        self._engine.step()
        return float(self._engine.get_global_grad_norm()) if self._engine.was_step_applied() else float("inf")

    def model_tensors(self) -> Tensors:
        """Return the model's tensors; nothing but on the first rank: a machine's ranks share its memory."""
        with self.whole():
            return named_tensors(self.model) if dist.get_rank() == 0 else {}

    def optimiser_tensors(self) -> Tensors:
        """Return the optimiser's state; nothing before the first step, and but on the first rank."""
        states = [self._states[flat] for flat in self._partitions() if self._states.get(flat)]
        if not states:
            return {}
        found: Tensors = {}
        for index, parameter in enumerate(self._trained):
            found[f"{index}.step"] = states[0]["step"].detach().cpu().clone()
            for moment in _MOMENTS:
                full = safe_get_full_optimizer_state(parameter, moment)  # by all ranks together
                if dist.get_rank() == 0:
                    found[f"{index}.{moment}"] = full.detach().reshape(_shape(parameter)).cpu().contiguous()
        return found

    def restore(self, model: Tensors, optimiser: Tensors) -> None:
        """Take up a checkpoint."""
        with self.whole(modified=True):
            restore_model(self.model, model)
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                self._set(parameter, model[name])
        if optimiser:
            self._make_states(optimiser["0.step"])
            for index, parameter in enumerate(self._trained):
                for moment in _MOMENTS:
                    self._set(parameter, optimiser[f"{index}.{moment}"], moment)

    def _set(self, parameter: nn.Parameter, value: Tensor, moment: str | None = None) -> None:
        """Set this rank's piece of a master weight, or of a moment of it, from the whole."""
        value = value.to(parameter.device, torch.float32).flatten()
        if self._stage < 3:
            if moment is None:
                safe_set_full_fp32_param(parameter, value)
            else:
                safe_set_full_optimizer_state(parameter, value, moment)
            return
        size: int = getattr(parameter, "ds_tensor").numel()  # noqa: B009 - ZeRO-3 puts it there
        # DeepSpeed's own setter of wholes fails where the last rank's piece is padded.
        padded = torch.nn.functional.pad(value, (0, size * dist.get_world_size() - len(value)))
        piece = padded[size * dist.get_rank() :][:size]
        if moment is None:
            safe_set_local_fp32_param(parameter, piece)
        else:
            safe_set_local_optimizer_state(parameter, piece, moment)

    @contextmanager
    def whole(self, *, modified: bool = False) -> Iterator[None]:
        """Inside, every tensor is whole on this rank; `modified`: keep what all ranks alike make of them there."""
        if self._stage < 3:
            yield
            return
        rank = 0 if modified else None
        with deepspeed.zero.GatheredParameters(list(self.model.parameters()), modifier_rank=rank):
            yield

    @property
    def _states(self) -> dict[Tensor, Tensors]:
        states: dict[Tensor, Tensors] = self._engine.optimizer.optimizer.state
        return states

    def _partitions(self) -> list[Tensor]:
        """This rank's flat pieces of the trained weights: what the optimiser trains."""
        zero = self._engine.optimizer
        return list(zero.fp32_partitioned_groups_flat if self._stage == 3 else zero.single_partition_of_fp32_groups)

    def _make_states(self, step: Tensor) -> None:
        """Make the states the optimiser makes at its first step, and let DeepSpeed know them."""
        for flat in self._partitions():
            self._states[flat] = {"step": step.clone(), **{moment: torch.zeros_like(flat) for moment in _MOMENTS}}
        if self._stage < 3:
            self._engine.optimizer._hp_optimizer_states_linked = False
            self._engine.optimizer._lazy_init_hp_params_optimizer_state()


def _config(settings: DeepspeedSettings, max_grad_norm: float, dtype: str) -> dict[str, Any]:
    zero: dict[str, Any] = {"stage": settings.stage}
    if settings.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu"}
    if settings.offload == "all":
        zero["offload_param"] = {"device": "cpu"}
    return {
        # Batches are ours: how many micro-batches make a step is said before each.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": max_grad_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "torch_autocast": {"enabled": dtype == "bfloat16", "dtype": "bfloat16"},
    }


def _shape(parameter: nn.Parameter) -> torch.Size:
    """Of the whole parameter, of which ZeRO-3 keeps a piece."""
    shape: torch.Size = getattr(parameter, "ds_shape", parameter.shape)
    return shape
