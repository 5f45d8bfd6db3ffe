"""Who puts entries in: the learner issues tasks, rollouts publish trajectories."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from hiper import tracing
from hiper._proto.trajectory.v1.trajectory_pb2 import Task, Trajectory
from hiper.metrics import counter, histogram
from hiper.streams.broker import Broker
from hiper.streams.entry import encode
from hiper.streams.link import Argument
from hiper.vocabulary import Stream

__all__ = ["Publisher", "TaskQueue"]

_TASKS_PER_SCRIPT = 500


class TaskQueue:
    """The learner's side of `tasks`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def issue(self, tasks: Sequence[Task]) -> int:
        """Add the tasks whose trajectory ids were not issued before; return their number.

        One script per batch and 500 tasks: issuing again after a crash completes what is missing.
        """
        keys, added = self._broker.keys, 0
        for batch_id, chunk in _chunks(tasks):
            words: list[Argument] = []
            for task in chunk:
                parent = tracing.traceparent(task.trajectory_id)
                entry = encode(task, id=task.trajectory_id, batch=batch_id, traceparent=parent)
                words += [task.trajectory_id, len(entry), *entry]
            names = [keys.stream(Stream.TASKS), keys.issued(batch_id), keys.counts]
            new = int(await self._broker.script("issue", names, *words))
            added += new
            if new:
                tracing.issued([task.trajectory_id for task in chunk])
        return added


class Publisher:
    """A rollout's side of traj.raw (P1)."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(self, trajectory: Trajectory) -> bool:
        """Publish a trajectory under the id of its task; False if that id had been published.

        Repeats itself until the broker answers. Raises BrokerFull if its memory or disk is full (spool the trajectory
        and publish it again later, which is harmless), BrokerError after `unavailable_timeout_s`, IntegrityError if the
        trajectory is too large for an entry.
        """
        with tracing.publish(Stream.RAW):
            return await self._publish(trajectory)

    async def _publish(self, trajectory: Trajectory) -> bool:
        trajectory_id = trajectory.task.trajectory_id
        version = str(trajectory.turns[0].policy_version_start) if trajectory.turns else ""
        entry = encode(
            trajectory,
            id=trajectory_id,
            batch=trajectory.task.batch_id,
            policy_version=version,
            traceparent=tracing.traceparent(trajectory_id),
        )
        keys = self._broker.keys
        names = [keys.stream(Stream.RAW), keys.dedup(trajectory_id), keys.counts]
        ttl_ms = int(self._broker.settings.dedup_ttl_s * 1000)
        new = await self._broker.script("publish", names, ttl_ms, *entry, raise_full=True) is not None
        counter("stream_published_total").labels(stream=Stream.RAW.value, result="new" if new else "deduplicated").inc()
        histogram("stream_entry_bytes").labels(stream=Stream.RAW.value).observe(sum(map(len, entry)))
        return new

    async def is_published(self, trajectory_id: str) -> bool:
        """Whether a trajectory of this id was published (P9): its task needs no work."""
        return bool(await self._broker.command("EXISTS", self._broker.keys.dedup(trajectory_id)))


def _chunks(tasks: Sequence[Task]) -> Iterator[tuple[str, list[Task]]]:
    for batch_id, group in groupby(tasks, key=lambda task: task.batch_id):
        members = list(group)
        for start in range(0, len(members), _TASKS_PER_SCRIPT):
            yield batch_id, members[start : start + _TASKS_PER_SCRIPT]
