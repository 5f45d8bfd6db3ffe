"""What trains a model: the interface every backend has, and the one for a single process.

Training is the same program on every rank: all ranks hold all rows, cut them the same way and call the same methods in
the same order; each sends its share of the micro-batches through the model.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hiper.config.sections import LearnerSettings, OptimiserSettings

__all__ = ["Backend", "Tensors", "TorchBackend", "make_backend", "named_tensors", "restore_model"]

Tensors = dict[str, Tensor]


class Backend(Protocol):
    """A model, its gradient and its optimiser. Gradients of a step are summed over micro-batches and ranks."""

    model: nn.Module
    """The parameters' owner; their names are those of the checkpoint."""
    learning_rate: float

    def forward(self, batch: Any) -> Any:
        """Run the model, with a gradient unless torch's mode says otherwise."""

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add the gradient of `loss`; `last`: a step follows."""

    def step(self) -> float:
        """Take an optimiser step unless the gradient is not finite; return its norm, and begin with none again."""

    def model_tensors(self) -> Tensors:
        """Return the model's tensors by name, tied ones once, whole and on the CPU; what is frozen is left out. All
        ranks call this and the next together, and the first has the result."""

    def optimiser_tensors(self) -> Tensors:
        """Return the optimiser's state as `<index of the parameter>.<name>`, whole and on the CPU."""

    def restore(self, model: Tensors, optimiser: Tensors) -> None:
        """Take up what these two returned. Raises RuntimeError or KeyError for tensors of another model."""

    def whole(self) -> AbstractContextManager[None]:
        """Inside, every tensor of the model is whole on this rank."""


class TorchBackend:
    """One process, one device, AdamW on float32 weights."""

    def __init__(self, module: nn.Module, model: nn.Module, settings: OptimiserSettings) -> None:
        """`module` is called with batches; `model`, it or a part of it, owns the parameters."""
        self.model = model
        self.learning_rate = settings.lr
        self._module = module
        self._max_norm = settings.max_grad_norm
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimiser = torch.optim.AdamW(
            self._trained, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay
        )

    def forward(self, batch: Any) -> Any:
        """Run the model."""
        return self._module(batch)

    def backward(self, loss: Tensor, *, last: bool) -> None:  # noqa: ARG002 - only several ranks need to know
        """Add the gradient of `loss`."""
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self) -> float:
        """Take a step unless the gradient is not finite; return its norm."""
        norm = float(torch.nn.utils.clip_grad_norm_(self._trained, self._max_norm))
        if math.isfinite(norm):
            self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return norm

    def model_tensors(self) -> Tensors:
        """Return the model's tensors."""
        return named_tensors(self.model)

    def optimiser_tensors(self) -> Tensors:
        """Return the optimiser's state."""
        state = self._optimiser.state_dict()["state"]
        return {
            f"{index}.{name}": tensor.detach().cpu().contiguous()
            for index, slots in state.items()
            for name, tensor in slots.items()
        }

    def restore(self, model: Tensors, optimiser: Tensors) -> None:
        """Take up a checkpoint."""
        restore_model(self.model, model)
        state: dict[int, Tensors] = {}
        for key, tensor in optimiser.items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = tensor
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": state})

    def whole(self) -> AbstractContextManager[None]:
        """It always is."""
        return nullcontext()


def make_backend(module: nn.Module, model: nn.Module, optimiser: OptimiserSettings, run: LearnerSettings) -> Backend:
    """Return what trains `model` as `run.backend` says; `module`, which holds it, is called with batches."""
    if run.backend.name == "torch":
        return TorchBackend(module, model, optimiser)
    from services.learner.deepspeed_backend import DeepspeedBackend  # installed only where it is asked for

    return DeepspeedBackend(module, model, optimiser, run)


def named_tensors(model: nn.Module) -> Tensors:
    """Return trained parameters and buffers by name, tied ones once, on the CPU."""
    frozen = {parameter.data_ptr() for parameter in model.parameters() if not parameter.requires_grad}
    distinct: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in frozen:
            distinct.setdefault(tensor.data_ptr(), (name, tensor))
    return {name: tensor.detach().cpu().contiguous() for name, tensor in distinct.values()}


def restore_model(model: nn.Module, tensors: Tensors) -> None:
    """Copy into the tensors of `model`, so that tied ones stay tied. Raises RuntimeError unless all of them are met."""
    missing = named_tensors(model).keys() - tensors.keys()
    if missing:
        raise RuntimeError(f"{len(missing)} tensors are missing, {min(missing)} among them")
    model.load_state_dict(tensors, strict=False)
    unknown = tensors.keys() - model.state_dict().keys()
    if unknown:
        raise RuntimeError(f"{len(unknown)} tensors are unknown, {min(unknown)} among them")
