"""Checkpoints: everything the run needs to go on, atomic, verified, without pickle.

Layout: `checkpoints/g<generation>/v<serial>/` with actor.safetensors, critic.safetensors if the run keeps a critic,
their optimisers' states, state.json and a manifest of sha256 sums (`hiper.weights.manifest` writes and verifies it).
The highest (generation, serial) that verifies is loaded, so a late checkpoint of a learner that lost its lease never
outranks its successor's.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from hiper import logs
from hiper.durable import write_json
from hiper.errors import IntegrityError, RunStateError
from hiper.failpoint import Failpoint, failpoint
from hiper.weights.manifest import PublishedWeights, verify, write_version
from services.learner.state import RunState
from services.learner.trainer import Trainer

__all__ = ["CheckpointStore", "newest_generation"]

_STATE = "state.json"


def newest_generation(root: Path) -> int:
    """The generation of the newest checkpoint below `root`, damaged or not; 0 if there is none."""
    return max((int(folder.name[1:]) for folder in root.glob("g[0-9]*")), default=0)


class CheckpointStore:
    """The checkpoints of one run. One writer, the learner that holds the lease of `generation`."""

    def __init__(self, root: Path, keep: int) -> None:
        self._root = root
        self._keep = keep
        self._log = logs.get()

    def save(self, trainer: Trainer, state: RunState, generation: int) -> PublishedWeights:
        """Write a checkpoint; when it returns, a crash of the machine does not take it back. Raises `state.serial`."""
        state.serial += 1

        def write(directory: Path) -> None:
            trainer.save(directory)
            write_json(directory / _STATE, state.to_json())
            failpoint(Failpoint.LEARNER_DURING_CHECKPOINT)

        metadata = {"policy_version": state.version, "serial": state.serial}
        written = write_version(self._root / f"g{generation:06d}", state.serial, write, metadata)
        self._prune()
        return written

    def load(self, trainer: Trainer) -> RunState | None:
        """Restore the newest checkpoint that verifies; None if the run has none.

        A damaged one is skipped with a warning. Raises `RunStateError` if there are checkpoints and none verifies:
        going on would silently start over.
        """
        damaged = []
        for directory in self._newest_first():
            try:
                return self._restore(directory, trainer)
            except IntegrityError as error:
                damaged.append(str(error))
                self._log.warning("checkpoint is damaged; trying the one before", error=error.message)
        if damaged:
            raise RunStateError(
                f"no usable checkpoint in {self._root}: {damaged[0]}",
                "restore the folder from a backup, or remove it to start over",
            )
        return None

    def _restore(self, directory: Path, trainer: Trainer) -> RunState:
        verify(directory)
        state = RunState.from_json(json.loads((directory / _STATE).read_text()))
        trainer.restore(directory, state.version)
        self._log.info("checkpoint restored", directory=directory.name, policy_version=state.version)
        return state

    def _newest_first(self) -> Iterator[Path]:
        for generation in sorted(self._root.glob("g[0-9]*"), reverse=True):
            yield from sorted(generation.glob("v[0-9]*"), reverse=True)

    def _prune(self) -> None:
        for old in list(self._newest_first())[self._keep :]:
            shutil.rmtree(old)
        for generation in self._root.glob("g[0-9]*"):
            if not any(generation.iterdir()):
                generation.rmdir()
