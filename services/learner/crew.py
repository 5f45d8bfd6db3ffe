"""One learner of several processes: rank 0 leads, the others follow its orders.

Rank 0 alone talks to the broker, holds the lease and writes files. Whatever needs all ranks it announces first: one
broadcast with the order, one with its arrays (safetensors, never pickle). Then every rank does the same thing. The
leader's threads take turns, so orders and collectives come in one sequence everywhere. If a process dies, the
collective of the others fails or reaches `collective_timeout_s`, and the launcher ends them all.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors.numpy import load, save
from transformers import PreTrainedModel

from hiper import logs
from hiper.errors import IntegrityError, RunStateError
from services.learner.packing import TokenRow
from services.learner.ranks import DistributedRanks
from services.learner.rows import TrainRow
from services.learner.trainer import Metrics, Trainer

__all__ = [
    "Crew",
    "FollowingTrainer",
    "LeadingTrainer",
    "Order",
    "decode_rows",
    "decode_tokens",
    "encode_rows",
    "encode_tokens",
]

Arrays = dict[str, NDArray[Any]]


class Order(IntEnum):
    """What rank 0 asks of the others."""

    END = 0
    UPDATE = 1
    VALUES = 2
    SAVE = 3
    RESTORE = 4
    WHOLE = 5


class Crew:
    """The channel of orders."""

    def __init__(self, ranks: DistributedRanks) -> None:
        self._device = ranks.device
        self.turn = threading.RLock()
        """Held by the leader's thread from its order to the end of what it ordered."""

    def tell(self, order: Order, number: int = 0, arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Announce an order. Rank 0 only."""
        body = save(dict(arrays or {}))
        dist.broadcast(torch.tensor([order, number, len(body)], device=self._device), src=0)
        dist.broadcast(torch.frombuffer(bytearray(body), dtype=torch.uint8).to(self._device), src=0)

    def hear(self) -> tuple[Order, int, Arrays]:
        """Wait for an order. Every other rank."""
        head = torch.zeros(3, dtype=torch.int64, device=self._device)
        try:
            dist.broadcast(head, src=0)
            order, number, size = head.tolist()
            body = torch.zeros(size, dtype=torch.uint8, device=self._device)
            dist.broadcast(body, src=0)
        except RuntimeError as error:
            raise RunStateError(f"the leading process is gone: {error}", "see its log, and start all again") from error
        return Order(order), number, load(body.cpu().numpy().tobytes())


class LeadingTrainer(Trainer):
    """Rank 0's trainer: says what it is about to do."""

    def __init__(self, *arguments: Any, crew: Crew) -> None:
        super().__init__(*arguments)
        self._crew = crew

    def values(self, rows: Sequence[TokenRow]) -> tuple[NDArray[np.float64], int]:
        """As `Trainer`, but waits for all of an update."""
        with self._crew.turn:
            if self.critic is not None and rows:
                self._crew.tell(Order.VALUES, arrays=encode_tokens(rows))
            return super().values(rows)

    def update(self, rows: Sequence[TrainRow], version: int) -> Metrics | None:
        """As `Trainer`."""
        with self._crew.turn:
            self._crew.tell(Order.UPDATE, version, encode_rows(rows))
            return super().update(rows, version)

    def save(self, directory: Path | None) -> None:
        """As `Trainer`."""
        with self._crew.turn:
            self._crew.tell(Order.SAVE)
            super().save(directory)

    def restore(self, directory: Path, version: int) -> None:
        """As `Trainer`; every rank reads the files itself."""
        with self._crew.turn:
            name = np.frombuffer(str(directory.resolve()).encode(), dtype=np.uint8)
            self._crew.tell(Order.RESTORE, version, {"directory": name})
            super().restore(directory, version)

    @contextmanager
    def whole_actor(self) -> Iterator[PreTrainedModel]:
        """As `Trainer`."""
        with self._crew.turn:
            self._crew.tell(Order.WHOLE)
            with super().whole_actor() as actor:
                yield actor

    @contextmanager
    def leading(self) -> Iterator[None]:
        """As `Trainer`."""
        yield
        with self._crew.turn:
            self._crew.tell(Order.END)


class FollowingTrainer(Trainer):
    """Another rank's trainer."""

    def __init__(self, *arguments: Any, crew: Crew) -> None:
        super().__init__(*arguments)
        self._crew = crew

    def follow(self) -> bool:
        """Do as rank 0 does until it dismisses. Raises `RunStateError` if it is gone."""
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # a thread's own: the models may have been loaded in another
        order, number, arrays = self._crew.hear()
        while order is not Order.END:
            self._obey(order, number, arrays)
            order, number, arrays = self._crew.hear()
        return True

    def _obey(self, order: Order, number: int, arrays: Arrays) -> None:
        try:
            match order:
                case Order.UPDATE:
                    self.update(decode_rows(arrays), number)
                case Order.VALUES:
                    self.values(decode_tokens(arrays))
                case Order.SAVE:
                    self.save(None)
                case Order.RESTORE:
                    self.restore(Path(arrays["directory"].tobytes().decode()), number)
                case Order.WHOLE:
                    with self.whole_actor():
                        pass
        except (IntegrityError, RunStateError) as error:
            # Rank 0 sees the same and decides: another checkpoint, or an end.
            logs.get().warning("order not carried out", order=order.name, error=error.message)


def encode_tokens(rows: Sequence[TokenRow]) -> Arrays:
    """Return rows as arrays, joined end to end."""
    return {
        "prompts": _joined([row.prompt for row in rows], np.int32),
        "prompt_lengths": np.array([len(row.prompt) for row in rows]),
        "responses": _joined([row.response for row in rows], np.int32),
        "response_lengths": np.array([len(row.response) for row in rows]),
        "positions": np.array([row.value_low_position for row in rows]),
    }


def decode_tokens(arrays: Arrays) -> list[TokenRow]:
    """Return what `encode_tokens` was given."""
    prompts = _split(arrays["prompts"], arrays["prompt_lengths"])
    responses = _split(arrays["responses"], arrays["response_lengths"])
    return [TokenRow(*row) for row in zip(prompts, responses, arrays["positions"].tolist(), strict=True)]


_PER_TOKEN = {"behaviour_logprobs": np.float32, "advantages": np.float32, "mask": np.bool_}


def encode_rows(rows: Sequence[TrainRow]) -> Arrays:
    """Return training rows as arrays, joined end to end."""
    per_token = {name: _joined([getattr(row, name) for row in rows], kind) for name, kind in _PER_TOKEN.items()}
    return {
        **encode_tokens([row.tokens for row in rows]),
        **per_token,
        "targets": np.stack([row.targets for row in rows]),
        "old_values": np.stack([row.old_values for row in rows]),
        "versions": np.array([row.policy_version for row in rows]),
    }


def decode_rows(arrays: Arrays) -> list[TrainRow]:
    """Return what `encode_rows` was given."""
    lengths = arrays["response_lengths"]
    per_token = {name: _split(arrays[name], lengths) for name in _PER_TOKEN}
    return [
        TrainRow(
            tokens=tokens,
            **{name: parts[index] for name, parts in per_token.items()},
            targets=arrays["targets"][index],
            old_values=arrays["old_values"][index],
            policy_version=int(arrays["versions"][index]),
        )
        for index, tokens in enumerate(decode_tokens(arrays))
    ]


def _joined(parts: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:
    joined: NDArray[Any] = np.concatenate(parts).astype(kind)
    return joined


def _split(joined: NDArray[Any], lengths: NDArray[Any]) -> list[NDArray[Any]]:
    return np.split(joined, np.cumsum(lengths)[:-1])
