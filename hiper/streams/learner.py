"""What only the learner may do: hold the lease (P7), acknowledge what its checkpoint holds (P8.6), announce weights
(P8.7).

The fence is the generation: every learner that acquires the lease raises it, and every script here refuses an older
one. A lease that merely ran out, with nobody else having taken it, fences nobody out.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hiper.errors import RunStateError
from hiper.metrics import counter, gauge
from hiper.streams.broker import Broker
from hiper.streams.errors import LeaseLost
from hiper.streams.keys import GROUPS
from hiper.streams.link import Argument
from hiper.vocabulary import DropReason, Stream

__all__ = ["LearnerLease", "PolicyBoard", "PublishedPolicy", "Verdict", "apply_ack"]

Verdict = Literal["applied", "empty"] | DropReason
"""What became of an entry of traj.adv; `empty` for the marker of a batch without members, which stands for no
trajectory.
"""

_ENTRIES_PER_SCRIPT = 1000


class LearnerLease:
    """The right to be the learner of a run, renewed every third of `ttl_s`."""

    def __init__(self, broker: Broker, ttl_s: float) -> None:
        self._broker = broker
        self._ttl_s = ttl_s
        self._generation = 0

    @property
    def generation(self) -> int:
        """Generation of this learner, from 1. Raises RunStateError before `acquire`."""
        if not self._generation:
            raise RunStateError("the learner's lease was not acquired")
        return self._generation

    async def acquire(self, wait_s: float | None = None, *, above: int = 0) -> int:
        """Become the learner and return the generation, greater than `above`.

        Waits for a predecessor's lease to run out.

        Raises RunStateError if another learner still holds it after `wait_s`, by default three times `ttl_s`.
        """
        bound_s = 3 * self._ttl_s if wait_s is None else wait_s
        keys, give_up = self._broker.keys, time.monotonic() + bound_s
        while True:
            generation = await self._broker.script("acquire_lease", [keys.lease, keys.generation], self._ttl_ms, above)
            if generation is not None:
                self._generation = int(generation)
                gauge("learner_generation").set(self._generation)
                return self._generation
            if time.monotonic() >= give_up:
                raise RunStateError(
                    f"another learner of run {self._broker.run} is alive: it holds the lease after {bound_s:g} s",
                    hint="stop it first; a run has one learner",
                )
            await asyncio.sleep(self._ttl_s / 10)

    async def renew(self) -> None:
        """Keep the lease. Raises LeaseLost if a newer learner has taken over."""
        keys = self._broker.keys
        if not await self._broker.script("renew_lease", [keys.lease, keys.generation], self.generation, self._ttl_ms):
            raise self.lost()

    async def keep(self) -> None:
        """Renew for ever; to run beside the learner's work. Raises LeaseLost."""
        while True:
            await self.renew()
            await asyncio.sleep(self._ttl_s / 3)

    async def release(self) -> None:
        """Give the lease up, so that a successor need not wait."""
        await self._broker.script("release_lease", [self._broker.keys.lease], self.generation)

    def lost(self) -> LeaseLost:
        """The error of a learner that has been replaced."""
        return LeaseLost(f"a newer learner has taken over run {self._broker.run} from generation {self._generation}")

    @property
    def _ttl_ms(self) -> int:
        return int(self._ttl_s * 1000)


async def apply_ack(broker: Broker, lease: LearnerLease, verdicts: Mapping[str, Verdict]) -> int:
    """Acknowledge entries of traj.adv, by entry id, whose outcome is in a checkpoint (P8.6).

    Counts each entry as applied or dropped once, however often it is acknowledged; returns the number acknowledged now.
    Raises LeaseLost if a newer learner has taken over; the entries are its business then.
    """
    keys = broker.keys
    names = [keys.stream(Stream.ADVANTAGES), keys.counts, keys.generation]
    rows = [(entry_id, *_move(verdict)) for entry_id, verdict in verdicts.items()]
    acked = 0
    for start in range(0, len(rows), _ENTRIES_PER_SCRIPT):
        words: list[Argument] = [word for row in rows[start : start + _ENTRIES_PER_SCRIPT] for word in row]
        result = int(await broker.script("apply", names, GROUPS[Stream.ADVANTAGES], lease.generation, *words))
        if result < 0:
            raise lease.lost()
        acked += result
    counter("stream_acked_total").labels(stream=Stream.ADVANTAGES.value).inc(acked)
    return acked


def _move(verdict: Verdict) -> tuple[str, int]:
    if verdict == "applied":
        return "applied", 1
    if verdict == "empty":
        return "markers", -1
    return f"dropped:{DropReason(verdict).value}", 1


@dataclass(frozen=True, slots=True)
class PublishedPolicy:
    """Weights that are ready to be fetched."""

    version: int
    uri: str
    manifest_sha256: str
    generation: int
    """Generation of the learner that published them. A restart may publish a lower version under a higher generation.
    """
    announced_at: float = field(default=0.0, compare=False)
    """Unix time, by the learner's clock, of the first announcement; 0 = unknown."""


class PolicyBoard:
    """The published policy of a run."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(self, version: int, uri: str, manifest_sha256: str, generation: int) -> bool:
        """Announce weights that are completely written. The same again is harmless.

        False if this generation has announced a newer version. Raises LeaseLost if a newer learner has taken over.
        """
        keys = self._broker.keys
        words = (generation, version, uri, manifest_sha256, time.time())
        result = int(await self._broker.script("publish_policy", [keys.policy, keys.generation], *words))
        if result < 0:
            raise LeaseLost(f"a newer learner has taken over run {self._broker.run} from generation {generation}")
        return bool(result)

    async def read(self) -> PublishedPolicy | None:
        """The policy in force; None before the first one."""
        fields: dict[bytes, bytes] = await self._broker.command("HGETALL", self._broker.keys.policy)
        if not fields:
            return None
        text = {name.decode(): value.decode() for name, value in fields.items()}
        return PublishedPolicy(
            int(text["version"]),
            text["uri"],
            text["manifest_sha256"],
            int(text["generation"]),
            float(text.get("announced_at", 0)),
        )
