"""Publishing weights: files first, the announcement last."""

import asyncio
import time
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedModel

from hiper import logs
from hiper.config import RunConfig
from hiper.metrics import gauge, histogram
from hiper.streams import PolicyBoard
from hiper.weights.manifest import PublishedWeights, prune, write_version

__all__ = ["WeightsPublisher"]


class WeightsPublisher:
    """Writes versions below `root` in Hugging Face format, tokenizer included, and announces them on the board."""

    def __init__(self, root: Path, config: RunConfig, board: PolicyBoard) -> None:
        self._root = root
        self._config = config
        self._board = board
        self._tokenizer = AutoTokenizer.from_pretrained(config.model.path, revision=config.model.revision)

    async def publish(self, actor: PreTrainedModel, version: int, generation: int) -> None:
        """Publish the actor's weights as `version`. May be repeated; a newer announcement is never taken back."""
        started = time.monotonic()
        written = await asyncio.to_thread(self._write, actor, version, generation)
        await self._board.publish(version, written.directory.resolve().as_uri(), written.manifest_sha256, generation)
        prune(self._root, self._config.learner.keep_weights, protect=(version,))
        gauge("weights_bytes").set(written.bytes)
        gauge("learner_policy_version").set(version)
        histogram("weights_publish_duration_seconds").observe(time.monotonic() - started)
        logs.get().info("weights published", policy_version=version, bytes=written.bytes)

    def _write(self, actor: PreTrainedModel, version: int, generation: int) -> PublishedWeights:
        def write(directory: Path) -> None:
            actor.save_pretrained(directory, safe_serialization=True)
            self._tokenizer.save_pretrained(directory)

        # The generation is part of the metadata: a successor that repeats a version with other numbers replaces it.
        return write_version(self._root, version, write, {"run": self._config.run, "generation": generation})
