"""Continuous episodes: whenever a slot is free the next task is played. Nothing waits for the slowest episode.

A task stays pending, with heartbeats, until its trajectory is published; then it is acknowledged. If this process dies
first, the task is delivered again under the same trajectory id. While the broker does not take a finished trajectory it
lies in the spool as well, and no new task is taken.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from hiper import logs, tracing
from hiper._proto.trajectory.v1.trajectory_pb2 import Task, Trajectory
from hiper.config import RunConfig
from hiper.errors import HiperError, IntegrityError
from hiper.failpoint import Failpoint, failpoint
from hiper.metrics import gauge
from hiper.streams import BrokerFull, Delivery
from hiper.vocabulary import Stream
from services.rollout.episode import EpisodePlayer
from services.rollout.ports import Outbox, TaskInbox
from services.rollout.recording import episode_attributes
from services.rollout.spool import Spool
from services.rollout.weights_sync import WeightsSync

__all__ = ["RolloutWorker", "WorkerLimits", "WorkerParts"]


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What a worker works with."""

    inbox: TaskInbox
    outbox: Outbox
    player: EpisodePlayer
    weights: WeightsSync
    spool: Spool


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How much at a time, and how long."""

    slots: int
    """Tasks held at once."""
    drain_s: float
    """How long running episodes may go on after `stop`."""
    beat_s: float
    """Seconds between heartbeats; well below the time after which another consumer takes a task over."""
    publish_patience_s: float = 3.0
    """A trajectory that is not published within this time goes to the spool."""
    retry_s: float = 1.0
    """Pause before a full broker is asked again."""
    release_s: float = 5.0
    """Bound of giving tasks back at the end; tasks that are not given back are taken over later."""

    @classmethod
    def of(cls, config: RunConfig) -> "WorkerLimits":
        """The limits a run's configuration sets."""
        rollout = config.rollout
        return cls(rollout.concurrent_episodes, rollout.drain_timeout_s, beat_s=config.broker.claim_idle_s / 4)


@dataclass(slots=True)
class _Slot:
    delivery: Delivery
    job: asyncio.Task[None]
    playing: bool = False
    """The episode has begun; until then giving the task back costs nothing."""
    settled: bool = False
    """The task is being acknowledged or put aside: from now on it need not be pending any more."""


class RolloutWorker:
    """Plays tasks until it is stopped."""

    def __init__(self, parts: WorkerParts, limits: WorkerLimits) -> None:
        self._parts = parts
        self._limits = limits
        self._slots: dict[str, _Slot] = {}
        self._unpublished = 0
        self._changed = asyncio.Event()
        self._log = logs.get()

    async def run(self, stop: asyncio.Event) -> None:
        """Play until `stop`, let running episodes end for up to `drain_s`, give the other tasks back.

        Raises, in an exception group, what no single episode can help: `EngineDead`, `BrokerError`.
        """
        async with asyncio.TaskGroup() as jobs:
            synced = jobs.create_task(self._parts.weights.wait_for(0))
            synced.add_done_callback(lambda _: self._changed.set())
            helpers = [synced, jobs.create_task(self._announce(stop)), jobs.create_task(self._beat())]
            await self._empty_spool(stop)
            await self._until(lambda: stop.is_set() or synced.done())
            while await self._room(stop):
                for delivery in await self._parts.inbox.receive(self._limits.slots - len(self._slots)):
                    self._start(delivery, jobs)
            await self._drain()
            for helper in helpers:
                helper.cancel()

    async def _room(self, stop: asyncio.Event) -> bool:
        """Wait until a task may be taken; False once the worker is to stop."""
        await self._until(lambda: stop.is_set() or (len(self._slots) < self._limits.slots and not self._unpublished))
        return not stop.is_set()

    def _start(self, delivery: Delivery, jobs: asyncio.TaskGroup) -> None:
        entry = delivery.entry_id
        if entry in self._slots:
            return  # delivered again though it is being played
        job = jobs.create_task(self._handle(delivery), name=delivery.trajectory_id)
        self._slots[entry] = _Slot(delivery, job)
        job.add_done_callback(lambda _: self._free(entry))
        self._observe()

    def _free(self, entry: str) -> None:
        del self._slots[entry]
        self._observe()
        self._changed.set()

    async def _handle(self, delivery: Delivery) -> None:
        inbox, slot = self._parts.inbox, self._slots[delivery.entry_id]
        try:
            found = await self._answer(delivery.task(), slot)
            slot.settled = True
            await inbox.ack(delivery, deduplicated=found)
        except IntegrityError as error:  # no task, or a trajectory too large to be an entry: again would be the same
            slot.settled = True
            await inbox.dead_letter(delivery, str(error))

    async def _answer(self, task: Task, slot: _Slot) -> bool:
        """See to it that the trajectory of `task` is published; True if it was found to be."""
        if await self._parts.outbox.is_published(task.trajectory_id):
            return True
        await self._parts.weights.wait_for(task.min_policy_version)
        slot.playing = True
        with tracing.trajectory("episode", Stream.TASKS, task.trajectory_id, slot.delivery.traceparent):
            trajectory = await self._play(task)
            failpoint(Failpoint.ROLLOUT_BEFORE_PUBLISH)
            await self._publish(trajectory)
            failpoint(Failpoint.ROLLOUT_AFTER_PUBLISH)
        return False

    async def _play(self, task: Task) -> Trajectory:
        trajectory = await self._parts.player.play(task)
        outcome = trajectory.outcome
        tracing.note(episode_attributes(trajectory))
        if outcome.abandoned:
            self._log.warning(
                "episode abandoned", trajectory_id=task.trajectory_id, reason=outcome.abandoned, error=outcome.error
            )
        return trajectory

    async def _publish(self, trajectory: Trajectory) -> None:
        """Publish, and keep the trajectory on disk for as long as the broker does not take it."""
        spool, name = self._parts.spool, trajectory.task.trajectory_id
        try:
            async with asyncio.timeout(self._limits.publish_patience_s):
                await self._parts.outbox.publish(trajectory)
            return
        except (TimeoutError, BrokerFull) as error:
            reason = str(error) or "no answer"
        self._unpublished += 1
        try:
            kept = spool.put(trajectory)
            self._log.warning("the broker does not take a trajectory", trajectory_id=name, error=reason, spooled=kept)
            await self._publish_patiently(trajectory)
        finally:
            self._unpublished -= 1
            self._changed.set()

    async def _publish_patiently(self, trajectory: Trajectory) -> None:
        """Publish however often a full broker refuses. Raises `BrokerError` once it stays away."""
        while True:
            try:
                await self._parts.outbox.publish(trajectory)
            except BrokerFull:
                await asyncio.sleep(self._limits.retry_s * random.uniform(0.5, 1.5))
            else:
                self._parts.spool.remove(trajectory.task.trajectory_id)
                return

    async def _empty_spool(self, stop: asyncio.Event) -> None:
        """Publish what an earlier life of this process could not; its tasks are found published when they return."""
        left_behind = self._parts.spool.load()
        for trajectory in left_behind:
            if stop.is_set():
                return
            await self._publish_patiently(trajectory)
        if left_behind:
            self._log.info("spool published", trajectories=len(left_behind))

    async def _drain(self) -> None:
        playing = {slot.job for slot in self._slots.values() if slot.playing}
        for slot in self._slots.values():
            if not slot.playing:
                slot.job.cancel()
        left = [slot.delivery for slot in self._slots.values() if not slot.playing]
        if playing:
            await asyncio.wait(playing, timeout=self._limits.drain_s)
        unfinished = [slot for slot in self._slots.values() if slot.job in playing]
        for slot in unfinished:
            slot.job.cancel()
        await self._until(lambda: not self._slots)
        await self._give_back([*left, *(slot.delivery for slot in unfinished)])

    async def _give_back(self, deliveries: list[Delivery]) -> None:
        try:
            async with asyncio.timeout(self._limits.release_s):
                await self._parts.inbox.release(deliveries)
        except (TimeoutError, HiperError) as error:
            self._log.warning("tasks not given back; others take them over later", error=str(error) or "no answer")
        self._log.info("drained", given_back=len(deliveries), spooled=len(self._parts.spool))

    async def _beat(self) -> None:
        """Keep the tasks that are worked on, and drop those that somebody else has taken over meanwhile."""
        while True:
            await asyncio.sleep(self._limits.beat_s)
            lost = await self._parts.inbox.heartbeat([slot.delivery for slot in self._slots.values()])
            for entry in lost & self._slots.keys():
                if not (slot := self._slots[entry]).settled:
                    self._log.warning("task taken over by another rollout", trajectory_id=slot.delivery.trajectory_id)
                    slot.job.cancel()

    async def _announce(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._changed.set()

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait for a condition on what `_changed` announces."""
        while not holds():
            self._changed.clear()
            await self._changed.wait()

    def _observe(self) -> None:
        gauge("rollout_inflight_episodes").set(len(self._slots))
