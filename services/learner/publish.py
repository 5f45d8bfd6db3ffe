"""Publishing weights: files first, the announcement last."""

import asyncio
import time
from pathlib import Path

import torch

from hiper import logs
from hiper.config import RunConfig
from hiper.failpoint import Failpoint, failpoint
from hiper.metrics import gauge, histogram
from hiper.streams import PolicyBoard, PublishedPolicy
from hiper.weights.front import WeightsFront
from hiper.weights.manifest import PublishedWeights, prune, write_version
from services.learner.hf_folder import copy_files, save_model, tokenizer_files
from services.learner.trainer import Trainer

__all__ = ["WeightsPublisher"]


class WeightsPublisher:
    """Writes versions below `root` in Hugging Face format, tokenizer included, and announces them on the board."""

    def __init__(self, root: Path, config: RunConfig, board: PolicyBoard, front: WeightsFront) -> None:
        self._root = root
        self._config = config
        self._board = board
        self._front = front
        self._tokenizer = tokenizer_files(config.model)
        self._dtype = getattr(torch, config.learner.dtype)
        self._announced: PublishedPolicy | None = None

    async def publish(self, trainer: Trainer, version: int, generation: int) -> None:
        """Publish the actor's weights as `version`. May be repeated; a newer announcement is never taken back."""
        started = time.monotonic()
        written = await asyncio.to_thread(self._write, trainer, version, generation)
        failpoint(Failpoint.LEARNER_DURING_PUBLISH)
        uri = await asyncio.to_thread(self._front.offer, written)
        self._announced = PublishedPolicy(version, uri, written.manifest_sha256, generation)
        await self.announce_again()
        prune(self._root, self._config.learner.keep_weights, protect=(version,))
        gauge("weights_bytes").set(written.bytes)
        gauge("learner_policy_version").set(version)
        histogram("weights_publish_duration_seconds").observe(time.monotonic() - started)
        logs.get().info("weights published", policy_version=version, bytes=written.bytes)

    async def announce_again(self) -> None:
        """Repeat the last announcement, which a broker that lost its last second has forgotten. Otherwise harmless."""
        if (last := self._announced) is not None:
            await self._board.publish(last.version, last.uri, last.manifest_sha256, last.generation)

    def _write(self, trainer: Trainer, version: int, generation: int) -> PublishedWeights:
        def write(directory: Path) -> None:
            with trainer.whole_actor() as actor:
                save_model(actor, directory, self._dtype)
            copy_files(self._tokenizer, directory)

        # The generation is part of the metadata: a successor that repeats a version with other numbers replaces it.
        return write_version(self._root, version, write, {"run": self._config.run, "generation": generation})
