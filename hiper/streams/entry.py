"""What an entry is made of, and what a consumer is handed.

Fields: `p` the protobuf payload, `sha` its SHA-1 in hex, `v` the schema version, `id` the trajectory id (tasks and
trajectories) or `batch` the batch id (everything from traj.scored on), optionally `policy_version` and `traceparent`,
the span it was put in by.
Entries of traj.adv also say how many members (`members`) of how many (`expected`) their batch has; a batch of which no
member is left is one entry with `members` 0 and no payload.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from hiper import tracing
from hiper._proto.trajectory.v1.trajectory_pb2 import BatchReady, Task, Trajectory
from hiper.errors import IntegrityError

__all__ = ["MAX_ENTRY_BYTES", "SCHEMA_VERSION", "Delivery", "encode", "pack"]

SCHEMA_VERSION = 1
"""Newest schema this code reads and writes."""
MAX_ENTRY_BYTES = 8 * 2**20
"""Largest payload. 50 turns of 2,560 tokens take 0.8 MB."""

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One entry, handed to one consumer."""

    entry_id: str
    payload: bytes
    deliveries: int
    """How often it has been delivered, this time included."""
    fields: Mapping[str, bytes]

    def task(self) -> Task:
        """The payload of an entry of `tasks`."""
        return self._decode(Task)

    def trajectory(self) -> Trajectory:
        """The payload of an entry of traj.raw or traj.adv."""
        return self._decode(Trajectory)

    def batch_ready(self) -> BatchReady:
        """The payload of an entry of traj.scored."""
        return self._decode(BatchReady)

    @property
    def trajectory_id(self) -> str:
        """The trajectory or task this is about; empty for a batch."""
        return self.text("id")

    @property
    def traceparent(self) -> str:
        """The span that put it in, see `hiper.tracing`; empty if it is not traced."""
        return self.text(tracing.TRACEPARENT)

    @property
    def batch_id(self) -> str:
        """The batch this belongs to."""
        return self.text("batch")

    @property
    def members(self) -> int:
        """traj.adv: members of the batch that were handed on; 0 marks a batch of which none is left."""
        return int(self.text("members") or 0)

    @property
    def expected(self) -> int:
        """traj.adv: members the batch was issued with."""
        return int(self.text("expected") or 0)

    def text(self, field: str) -> str:
        """A field as text, empty if absent."""
        return self.fields.get(field, b"").decode(errors="replace")

    @property
    def schema_version(self) -> int:
        """Schema version of the entry; 0 if it does not say."""
        text = self.text("v")
        return int(text) if text.isdecimal() else 0

    def check(self) -> None:
        """Raise IntegrityError unless the payload is the one that was written."""
        if "p" not in self.fields or "sha" not in self.fields:
            raise IntegrityError(f"entry {self.entry_id} has no payload or no checksum")
        if checksum(self.payload).encode() != self.fields["sha"]:
            raise IntegrityError(f"entry {self.entry_id}: the payload does not match its checksum")

    def _decode(self, kind: type[M]) -> M:
        try:
            return kind.FromString(self.payload)
        except DecodeError as error:
            raise IntegrityError(f"entry {self.entry_id} is not a {kind.DESCRIPTOR.name}: {error}") from error


def checksum(payload: bytes) -> str:
    """SHA-1 in hex: guards against damage, not against forgery, and is the one hash a script can compute too."""
    return hashlib.sha1(payload, usedforsecurity=False).hexdigest()


def encode(message: Message, **fields: str) -> list[str | bytes]:
    """Return the entry of `message` as field, value, ...; empty fields are left out.

    Raises IntegrityError above MAX_ENTRY_BYTES.
    """
    return pack(message.SerializeToString(), **fields)


def pack(payload: bytes, **fields: str) -> list[str | bytes]:
    """Return the entry of a payload as field, value, ...; empty fields are left out."""
    if len(payload) > MAX_ENTRY_BYTES:
        name = fields.get("id", "entry")
        raise IntegrityError(
            f"{name} is {len(payload):,} bytes, more than the {MAX_ENTRY_BYTES:,} an entry may have",
            hint="lower env.max_steps or rollout.sampling.max_prompt_tokens",
        )
    packed: list[str | bytes] = ["v", str(SCHEMA_VERSION), "sha", checksum(payload), "p", payload]
    for name, value in fields.items():
        if value:
            packed += [name, value]
    return packed
