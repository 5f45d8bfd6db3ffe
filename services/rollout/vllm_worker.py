"""Runs inside vLLM's worker processes: brings the weights, and proves that the new ones are in force.

vLLM's own reload leaves a stale matrix behind on CPUs: its CPU kernels keep a packed copy of every weight, and a head
that is tied to the embedding has no tensor of its own in the checkpoint, so nothing makes its copy again. The model
would go on with the new layers under the old head. Both ways here end in `check_heads`.

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
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from services.rollout.vllm_staging import SecondModel, check_heads, reason_against
from services.rollout.vllm_start import OWNER_VARIABLE

__all__ = ["WeightsExtension"]

# Warns at every reload of each tied head and rotary embedding that it was not in the checkpoint: that is right.
logging.getLogger("vllm.model_executor.model_loader.reload.layerwise").setLevel(logging.ERROR)

_LOADER = ThreadPoolExecutor(1, "weights")
"""One version at a time: whoever asks for the next before the last is loaded waits for it."""
_SLICE_S = 0.02
"""About how long the engine's thread works on new weights between two of its steps."""


class WeightsExtension:
    """Mixed into vLLM's worker class: `hiper_stage`, `hiper_staged` until it answers, then `hiper_put_in_force`."""

    model_runner: Any
    _hiper_second: SecondModel | None = None
    _hiper_staging: Future[SecondModel] | None = None

    def hiper_stage(self, directory: str) -> str:
        """Begin to load the checkpoint in `directory` beside the weights in force; returns at once, empty.

        Otherwise why this model can only be loaded in place: by `hiper_reload`.
        """
        reason = reason_against(self.model_runner.get_model(), self.model_runner.vllm_config)
        if not reason:
            self._hiper_staging = _LOADER.submit(self._hiper_load, self._hiper_second, directory)
        return reason

    def hiper_staged(self) -> str | None:
        """None while that goes on and this thread does its part, a slice a call; at the end empty, or why not."""
        if self._hiper_staging is None:
            return "nothing is staged"
        if not self._hiper_staging.done():
            return None
        try:
            return "" if self._hiper_staging.result().pack(_SLICE_S) else None
        except Exception as error:  # noqa: BLE001 - whatever a damaged checkpoint makes vLLM raise; the old weights go on
            self._hiper_staging = self._hiper_second = None
            return f"{type(error).__name__}: {error}"

    def hiper_put_in_force(self) -> None:
        """Exchange the weights in force for those that were staged. Generation must be paused."""
        if self._hiper_staging is None:
            raise RuntimeError("no weights are staged")
        self._hiper_second = self._hiper_staging.result()
        self._hiper_staging = None
        self._hiper_second.put_in_force()
        self.model_runner.reset_encoder_cache()
        self.model_runner.reset_mm_cache()

    def hiper_reload(self, directory: str) -> None:
        """Load the checkpoint in `directory` in place. Generation must be paused, and stays useless if this raises."""
        self.model_runner.reload_weights(weights_path=directory)
        check_heads(self.model_runner.get_model())

    def _hiper_load(self, second: SecondModel | None, directory: str) -> SecondModel:
        runner = self.model_runner
        second = second or SecondModel(runner.get_model(), runner.vllm_config)
        second.load(directory)
        return second


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
