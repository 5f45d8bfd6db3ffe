"""Batches: members come together (P3), time runs out (P5), the whole batch is handed on (P4).

A batch has no owner: its members may come from any process. It closes exactly once, when its last member has come or
its time is up, and then stands as one BatchReady in traj.scored while the members wait in its hash. An abandoned
trajectory completes its batch but is not carried on. A batch of which nothing is left is handed on as well, so that the
learner, which waits for every batch it issued, goes on.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from hiper import tracing
from hiper._proto.trajectory.v1.trajectory_pb2 import BatchReady, Trajectory
from hiper.errors import IntegrityError
from hiper.metrics import counter, histogram
from hiper.streams.broker import Broker
from hiper.streams.entry import SCHEMA_VERSION, Delivery, encode, pack
from hiper.streams.keys import GROUPS
from hiper.streams.link import Argument
from hiper.vocabulary import DropReason, Stream

__all__ = ["MAX_BATCH_BYTES", "Batches", "MemberResult"]

MemberResult = Literal["added", "completed", "late", "fenced"]

MAX_BATCH_BYTES = 512 * 2**20
"""Largest hand-off: one script, well under the 1 GB a server buffers per client. 512 trajectories of 1 MB."""

_ABOUT_BATCH = b"#"
"""First byte of the hash fields that are no members; no trajectory id begins with it."""
_MEMBERS_PER_READ = 32


class Batches:
    """The batches of a run, as the reward service, the HAE service and the janitor see them."""

    def __init__(self, broker: Broker, group_timeout_s: float = 600.0) -> None:
        """`group_timeout_s`: age, from its first member on, at which an incomplete batch is closed."""
        self._broker = broker
        self._timeout_ms = int(group_timeout_s * 1000)
        self._ttl_ms = int(broker.settings.dedup_ttl_s * 1000)

    async def add_member(self, delivery: Delivery, trajectory: Trajectory) -> MemberResult:
        """Move a trajectory from traj.raw into its batch (P3).

        `completed`: it was the last one, and the batch is in traj.scored now. `late`: the batch was closed; the
        trajectory is counted as dropped. `fenced`: another process, or an earlier call of this one, had done it.
        """
        task, keys = trajectory.task, self._broker.keys
        payload = b"" if trajectory.outcome.abandoned else trajectory.SerializeToString()
        ready = BatchReady(schema_version=SCHEMA_VERSION, batch_id=task.batch_id, expected=task.batch_size)
        names = [
            keys.stream(Stream.RAW),
            keys.members(task.batch_id),
            keys.closed(task.batch_id),
            keys.due,
            keys.stream(Stream.SCORED),
            keys.counts,
        ]
        words: list[Argument] = [GROUPS[Stream.RAW], delivery.entry_id, task.trajectory_id, payload, task.batch_id]
        words += [task.batch_size, ready.SerializeToString(), SCHEMA_VERSION, self._timeout_ms, self._ttl_ms]
        answer = await self._timed("add_member", Stream.RAW, names, words)
        result = cast(MemberResult, answer.decode())
        _count(Stream.RAW, acked=result != "fenced")
        return result

    async def members(self, batch_id: str) -> list[Trajectory]:
        """The members of a closed batch by trajectory id, abandoned ones left out; empty if it was handed off
        meanwhile.
        """
        key = self._broker.keys.members(batch_id)
        fields: list[bytes] = await self._broker.command("HKEYS", key)
        ids = sorted(field for field in fields if not field.startswith(_ABOUT_BATCH))
        members: list[Trajectory] = []
        for start in range(0, len(ids), _MEMBERS_PER_READ):
            payloads = await self._broker.command("HMGET", key, *ids[start : start + _MEMBERS_PER_READ])
            if None in payloads:
                return []
            members += [Trajectory.FromString(payload) for payload in payloads if payload]
        return members

    async def hand_off(
        self,
        delivery: Delivery,
        ready: BatchReady,
        trajectories: Sequence[Trajectory],
        dropped: Mapping[str, DropReason] | None = None,
    ) -> bool:
        """Hand a batch on to traj.adv, one entry per trajectory, in one step (P4); False if another process had done
        so.

        Every member must be in `trajectories` or, by id and with a reason, in `dropped`; otherwise BrokerError, and
        nothing has changed. Raises IntegrityError above MAX_BATCH_BYTES.
        """
        reasons = [f"dropped:{reason.value}" for reason in (dropped or {}).values()]
        words: list[Argument] = [GROUPS[Stream.SCORED], delivery.entry_id, ready.batch_id, self._ttl_ms]
        words += [len(trajectories), len(reasons), *reasons]
        size = 0
        for entry in _entries(ready, trajectories):
            words += [len(entry), *entry]
            size += sum(map(len, entry))
        if size > MAX_BATCH_BYTES:
            raise IntegrityError(
                f"batch {ready.batch_id} is {size:,} bytes, more than the {MAX_BATCH_BYTES:,} of one hand-off",
                hint="lower learner.tasks_per_batch, learner.samples_per_task or env.max_steps",
            )
        keys = self._broker.keys
        names = [keys.stream(Stream.SCORED), keys.stream(Stream.ADVANTAGES), keys.members(ready.batch_id)]
        names += [keys.due, keys.counts, keys.issued(ready.batch_id)]
        done = bool(await self._timed("hand_off", Stream.SCORED, names, words))
        _count(Stream.SCORED, acked=done)
        return done

    async def expire_due(self) -> int:
        """Close the batches whose time is up with the members they have (P5); return their number. Any process may."""
        keys, now = self._broker.keys, await self._broker.server_time_ms()
        due: list[bytes] = await self._broker.command("ZRANGEBYSCORE", keys.due, "-inf", now)
        expired = 0
        for batch_id in (name.decode() for name in due):
            names = [keys.members(batch_id), keys.closed(batch_id), keys.due, keys.stream(Stream.SCORED)]
            expired += int(await self._broker.script("expire_batch", names, batch_id, SCHEMA_VERSION, self._ttl_ms))
        return expired

    async def _timed(self, script: str, stream: Stream, keys: Sequence[str], words: Sequence[Argument]) -> bytes:
        start = time.perf_counter()
        answer: bytes = await self._broker.script(script, keys, *words)
        histogram("stream_handoff_duration_seconds").labels(stream=stream.value).observe(time.perf_counter() - start)
        return answer


def _entries(ready: BatchReady, trajectories: Sequence[Trajectory]) -> list[list[str | bytes]]:
    about = {"batch": ready.batch_id, "members": str(len(trajectories)), "expected": str(ready.expected)}
    if not trajectories:
        return [pack(b"", **about)]
    return [_member_entry(trajectory, about) for trajectory in trajectories]


def _member_entry(trajectory: Trajectory, about: Mapping[str, str]) -> list[str | bytes]:
    name = trajectory.task.trajectory_id
    return encode(trajectory, id=name, traceparent=tracing.traceparent(name), **about)


def _count(stream: Stream, *, acked: bool) -> None:
    counter("stream_acked_total" if acked else "stream_fenced_total").labels(stream=stream.value).inc()
