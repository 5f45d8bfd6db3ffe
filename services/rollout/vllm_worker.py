"""Runs inside vLLM's worker processes: reloads the weights in place, and proves that the new ones are in force.

vLLM's own reload leaves a stale matrix behind on CPUs: its CPU kernels keep a packed copy of every weight, and a head
that is tied to the embedding has no tensor of its own in the checkpoint, so nothing makes its copy again. The model
would go on with the new layers under the old head. This class packs heads anew and checks that each computes with the
weights just loaded; the engine calls it instead of `reload_weights`.

It also ends vLLM's processes when the service was killed: they would go on for ever, since vLLM's core does not notice
that its parent is gone.

Imported by vLLM by name (`worker_extension_cls`); needs vllm and torch.
"""

import contextlib
import logging
import os
import select
import signal
import threading
from typing import Any

import torch
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

from services.rollout.vllm_start import OWNER_VARIABLE

__all__ = ["WeightsExtension"]

# Warns at every reload of each tied head and rotary embedding that it was not in the checkpoint: that is right.
logging.getLogger("vllm.model_executor.model_loader.reload.layerwise").setLevel(logging.ERROR)

_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Largest difference of two ways to multiply the same matrices, relative to the largest product."""


class WeightsExtension:
    """Mixed into vLLM's worker class."""

    model_runner: Any

    def hiper_reload_weights(self, directory: str) -> None:
        """Load the checkpoint in `directory`. Raises RuntimeError if a head does not compute with the new weights."""
        self.model_runner.reload_weights(weights_path=directory)
        for name, head in self.model_runner.get_model().named_modules():
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


def _end_with(owner: int) -> None:
    """Wait until the process `owner` has ended, then end vLLM's core, which is the parent, and this worker."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(owner)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll()
    if (core := os.getppid()) != 1:
        os.kill(core, signal.SIGKILL)
    os._exit(1)


if hasattr(os, "pidfd_open") and (_owner := os.environ.get(OWNER_VARIABLE)):
    threading.Thread(target=_end_with, args=(int(_owner),), daemon=True, name="owner").start()
