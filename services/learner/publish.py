"""Publishing weights: files first, the announcement last."""

import asyncio
import json
import time
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from hiper import logs
from hiper.config import RunConfig
from hiper.config.sections import ModelSettings
from hiper.durable import write_json
from hiper.errors import DependencyError
from hiper.failpoint import Failpoint, failpoint
from hiper.metrics import gauge, histogram
from hiper.streams import PolicyBoard, PublishedPolicy
from hiper.weights.manifest import PublishedWeights, prune, write_version

__all__ = ["WeightsPublisher", "save_model"]


class WeightsPublisher:
    """Writes versions below `root` in Hugging Face format, tokenizer included, and announces them on the board."""

    def __init__(self, root: Path, config: RunConfig, board: PolicyBoard) -> None:
        self._root = root
        self._config = config
        self._board = board
        self._tokenizer = _load_tokenizer(config.model)
        self._dtype = getattr(torch, config.learner.dtype)
        self._announced: PublishedPolicy | None = None

    async def publish(self, actor: PreTrainedModel, version: int, generation: int) -> None:
        """Publish the actor's weights as `version`. May be repeated; a newer announcement is never taken back."""
        started = time.monotonic()
        written = await asyncio.to_thread(self._write, actor, version, generation)
        failpoint(Failpoint.LEARNER_DURING_PUBLISH)
        uri = written.directory.resolve().as_uri()
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

    def _write(self, actor: PreTrainedModel, version: int, generation: int) -> PublishedWeights:
        def write(directory: Path) -> None:
            save_model(actor, directory, self._dtype)
            self._tokenizer.save_pretrained(directory)

        # The generation is part of the metadata: a successor that repeats a version with other numbers replaces it.
        return write_version(self._root, version, write, {"run": self._config.run, "generation": generation})


def save_model(model: PreTrainedModel, directory: Path, dtype: torch.dtype) -> None:
    """Write `model` in Hugging Face format with its numbers as `dtype`; tied tensors stay one."""
    cast: dict[int, torch.Tensor] = {}
    tensors = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in cast:
            cast[tensor.data_ptr()] = tensor.detach().to(dtype)
        tensors[name] = cast[tensor.data_ptr()]
    model.save_pretrained(directory, state_dict=tensors)
    # transformers writes the type of `model`; an engine that trusts it would take twice the memory.
    config = directory / "config.json"
    write_json(config, {**json.loads(config.read_text()), "dtype": str(dtype).removeprefix("torch.")})


def _load_tokenizer(settings: ModelSettings) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            settings.path, revision=settings.revision, local_files_only=Path(settings.path).exists()
        )
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise DependencyError(
            f"cannot load the tokenizer of '{settings.path}': {first_line}", "check model.path"
        ) from error
    return tokenizer
