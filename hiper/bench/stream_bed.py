"""What `hiper bench streams` measures on: a server of its own, a run in it, and the same work done by bare commands.

The bare commands come from the same client over as many connections, their entries encoded beforehand: what is left
between the two sides is what the protocol costs, the scripts and what runs in Python before and after them.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from hiper._proto.trajectory.v1.trajectory_pb2 import Outcome, Task, Trajectory, Turn
from hiper.config.sections import BrokerSettings
from hiper.embedded_broker import find_server, resolve_broker, start
from hiper.embedded_broker.servers import packaged_server
from hiper.streams import GROUPS, Batches, Broker, Consumer, Delivery, LearnerLease, Publisher, apply_ack
from hiper.streams.entry import encode
from hiper.vocabulary import Stream

__all__ = ["BATCH", "Bed", "Fsync", "bed", "installed_servers", "make_batch", "together"]

Fsync = Literal["always", "everysec"]
BATCH = 64
"""Members of a batch."""
_RUN = "bench"
_AT_ONCE = 32
"""Calls in flight: connections of the client's pool."""
_LEASE_S = 3600.0
_BARE, _BARE_GROUP = "bench:bare", "bare"
_numbers = count()

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def make_batch(generator: np.random.Generator, entry_bytes: int, size: int = BATCH) -> list[Trajectory]:
    """Trajectories of one batch under new ids, `entry_bytes` of random tokens each."""
    batch = f"train-{next(_numbers):06d}"
    return [_trajectory(generator.bytes(entry_bytes), batch, sample, size) for sample in range(size)]


def _trajectory(tokens: bytes, batch: str, sample: int, size: int) -> Trajectory:
    task = Task(
        schema_version=1,
        run=_RUN,
        trajectory_id=f"{_RUN}/{batch}/{sample}",
        batch_id=batch,
        batch_size=size,
        sample=sample,
    )
    return Trajectory(
        schema_version=1, task=task, turns=[Turn(index=0, prompt_ids=tokens, action="look")], outcome=Outcome(won=True)
    )


async def together(work: Callable[[Item], Awaitable[Answer]], items: Sequence[Item]) -> list[Answer]:
    """Do `work` for every item, `_AT_ONCE` at a time."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(item: Item) -> Answer:
        async with places:
            return await work(item)

    return list(await asyncio.gather(*map(one, items)))


@dataclass
class Bed:
    """A run in a server of its own, with every stage's side of the protocol."""

    server: str
    """Name and version."""
    broker: Broker
    publisher: Publisher
    batches: Batches
    lease: LearnerLease
    raw: Consumer
    scored: Consumer
    advantages: Consumer

    async def receive(self, consumer: Consumer, number: int) -> list[Delivery]:
        """Exactly `number` deliveries."""
        found: list[Delivery] = []
        while len(found) < number:
            found += await consumer.receive(min(number - len(found), BATCH))
        return found

    async def add(self, delivery: Delivery) -> None:
        """Move a trajectory into its batch, as the reward service does once it has scored it."""
        await self.batches.add_member(delivery, delivery.trajectory())

    async def hand_off(self, delivery: Delivery, members: Sequence[Trajectory]) -> None:
        """Hand a batch to the learner, as the HAE service does."""
        await self.batches.hand_off(delivery, delivery.batch_ready(), members)

    async def apply(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge, as the learner does once its checkpoint is written."""
        await apply_ack(self.broker, self.lease, {delivery.entry_id: "applied" for delivery in deliveries})

    async def server_seconds(self) -> float:
        """CPU time the server has used."""
        about = await self.broker.command("INFO", "cpu")
        return float(about["used_cpu_user"] + about["used_cpu_sys"])

    async def bare_publish(self, entry: Sequence[str | bytes]) -> None:
        """The bare command of a publish."""
        await self.broker.command("XADD", _BARE, "*", *entry)

    async def empty_script(self, entry: Sequence[str | bytes]) -> None:
        """A script that is given an entry and does nothing with it: what no script can be faster than."""
        await self.broker.command("EVAL", "return 1", 0, *entry)

    async def bare_read(self, number: int) -> list[bytes]:
        """Read entries that were added by bare commands."""
        words = ("GROUP", _BARE_GROUP, "one", "COUNT", number, "STREAMS", _BARE, ">")
        reply = await self.broker.command("XREADGROUP", *words)
        return [entry_id for entry_id, _fields in reply[0][1]]

    async def bare_add(self, entry: tuple[bytes, bytes]) -> None:
        """The bare commands of moving an entry (id, payload) into a hash, in one round trip."""
        entry_id, payload = entry
        async with self.broker.client.pipeline(transaction=False) as pipe:
            pipe.xack(_BARE, _BARE_GROUP, entry_id)
            pipe.xdel(_BARE, entry_id)
            pipe.hset(f"{_BARE}:hash", entry_id, payload)
            await pipe.execute()

    async def bare_hand_off(self, entries: Sequence[Sequence[str | bytes]]) -> None:
        """The bare commands of handing a batch on, in one round trip."""
        async with self.broker.client.pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.execute_command("XADD", f"{_BARE}:out", "*", *entry)
            pipe.unlink(f"{_BARE}:hash")
            await pipe.execute()

    async def bare_clear(self) -> None:
        """Forget what the bare commands left."""
        await self.broker.command("UNLINK", f"{_BARE}:out", f"{_BARE}:hash")

    async def fill(self, number: int, sample: Trajectory) -> None:
        """Put `number` entries like `sample` behind those of traj.raw, and remember as many published ids."""
        source = """
            for i = 1, tonumber(ARGV[1]) do
              redis.call('XADD', KEYS[1], '*', unpack(ARGV, 3))
              redis.call('SET', KEYS[2] .. ARGV[2] .. ':' .. i, '1', 'PX', 3600000)
            end"""
        keys, entry = self.broker.keys, encode(sample)
        for done in range(0, number, _FILL):
            names = (keys.stream(Stream.RAW), keys.dedup("filler"))
            await self.broker.command("EVAL", source, 2, *names, min(_FILL, number - done), next(_numbers), *entry)

    async def empty(self) -> None:
        """Forget every entry of traj.raw."""
        await self.broker.command("XTRIM", self.broker.keys.stream(Stream.RAW), "MAXLEN", 0)


_FILL = 10_000
"""Entries added by one script: well below the time after which a server calls a script slow."""


def installed_servers() -> list[str | None]:
    """Search paths that lead to each server there is: that of PATH, and that of the package."""
    packaged = packaged_server()
    found = find_server().path
    return [None] if packaged in (None, found) else [None, ""]


@asynccontextmanager
async def bed(fsync: Fsync, search_path: str | None) -> AsyncIterator[Bed]:
    """Start the server found on `search_path` (None: PATH) and create a run. Raises `DependencyError` without one."""
    with tempfile.TemporaryDirectory() as folder:
        settings = BrokerSettings(appendfsync=fsync, maxmemory_mb=4096)
        launch = resolve_broker(settings, Path(folder), search_path=search_path)
        async with (
            await start(launch),
            await Broker.connect(BrokerSettings(url=launch.url, block_ms=200), _RUN, "bench") as broker,
        ):
            await broker.create_run()
            await broker.command("XGROUP", "CREATE", _BARE, _BARE_GROUP, "0", "MKSTREAM")
            lease = LearnerLease(broker, _LEASE_S)
            await lease.acquire()

            def consumer(stream: Stream) -> Consumer:
                return Consumer(broker, stream, GROUPS[stream], "one")

            yield Bed(
                f"{launch.kind} {launch.version}",
                broker,
                Publisher(broker),
                Batches(broker),
                lease,
                consumer(Stream.RAW),
                consumer(Stream.SCORED),
                consumer(Stream.ADVANTAGES),
            )
