"""Continuous episodes: whenever a slot is free, the next task is played. Nothing waits for the slowest episode.

A task stays pending until its trajectory is published (then it is acknowledged) or this process dies (then it is delivered
again, under the same trajectory id). A trajectory the broker cannot take goes to the spool, and no new task is taken until the
spool is empty.
"""

import asyncio
import contextlib

from hiper import logs
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.errors import IntegrityError
from hiper.metrics import gauge
from hiper.streams import BrokerFull, Consumer, Delivery, Publisher
from services.rollout.episode import EpisodePlayer
from services.rollout.spool import Spool
from services.rollout.weights_sync import WeightsSync

__all__ = ["RolloutWorker"]

_BEATS_PER_IDLE_TIME = 4
_SPOOL_RETRY_S = 2.0
_POLL_S = 0.05


class RolloutWorker:
    """Plays up to `slots` episodes at once."""

    def __init__(
        self,
        consumer: Consumer,
        publisher: Publisher,
        player: EpisodePlayer,
        weights: WeightsSync,
        spool: Spool,
        *,
        slots: int,
        claim_idle_s: float,
    ) -> None:
        self._consumer = consumer
        self._publisher = publisher
        self._player = player
        self._weights = weights
        self._spool = spool
        self._slots = slots
        self._beat_s = claim_idle_s / _BEATS_PER_IDLE_TIME
        self._playing: dict[str, tuple[Delivery, asyncio.Task[None]]] = {}
        self._log = logs.get()

    async def run(self, stop: asyncio.Event, drain_timeout_s: float) -> None:
        """Play until `stop`, then let running episodes end for up to `drain_timeout_s` and give the rest back."""
        beat = asyncio.create_task(self._beat())
        try:
            await self._take_tasks(stop, beat)
            await self._drain(drain_timeout_s)
        finally:
            beat.cancel()
            for _, task in self._playing.values():
                task.cancel()

    async def _take_tasks(self, stop: asyncio.Event, beat: asyncio.Task[None]) -> None:
        while not stop.is_set():
            self._reap()
            if beat.done():
                beat.result()
            await self._replay_spool()
            free = self._slots - len(self._playing)
            if free == 0 or len(self._spool):
                await self._wait_a_little(stop)
                continue
            for delivery in await self._consumer.receive(free):
                self._start(delivery)

    def _start(self, delivery: Delivery) -> None:
        if delivery.entry_id in self._playing:
            return  # read again after this consumer had been idle too long; it is being played already
        task = asyncio.create_task(self._handle(delivery), name=delivery.trajectory_id)
        self._playing[delivery.entry_id] = (delivery, task)
        gauge("rollout_inflight_episodes").set(len(self._playing))

    async def _handle(self, delivery: Delivery) -> None:
        try:
            task = delivery.task()
        except IntegrityError as error:
            await self._consumer.dead_letter(delivery, str(error))
            return
        if await self._publisher.is_published(task.trajectory_id):
            await self._consumer.ack(delivery, deduplicated=True)
            return
        await self._weights.wait_for(task.min_policy_version)
        trajectory = await self._player.play(task)
        if trajectory.outcome.abandoned:
            self._log.warning(
                "episode abandoned",
                trajectory_id=task.trajectory_id,
                reason=trajectory.outcome.abandoned,
                error=trajectory.outcome.error,
            )
        await self._publish(trajectory)
        await self._consumer.ack(delivery)

    async def _publish(self, trajectory: Trajectory) -> None:
        try:
            await self._publisher.publish(trajectory)
        except BrokerFull as error:
            # From here on the spool is the acknowledged copy; it is published before anything else is taken.
            self._log.warning("trajectory spooled", trajectory_id=trajectory.task.trajectory_id, error=str(error))
            await asyncio.to_thread(self._spool.put, trajectory)

    async def _replay_spool(self) -> None:
        if not len(self._spool):
            return
        try:
            replayed = await self._spool.replay(self._publisher.publish)
            self._log.info("spool replayed", trajectories=replayed)
        except BrokerFull:
            await asyncio.sleep(_SPOOL_RETRY_S)

    def _reap(self) -> None:
        """Forget ended episodes; an error of one - a dead engine, a lost broker - ends the worker."""
        for entry_id, (_, task) in list(self._playing.items()):
            if task.done():
                del self._playing[entry_id]
                task.result()
        gauge("rollout_inflight_episodes").set(len(self._playing))

    async def _wait_a_little(self, stop: asyncio.Event) -> None:
        """Wait until an episode ends, or a moment."""
        tasks = [task for _, task in self._playing.values()]
        if tasks and not len(self._spool):
            await asyncio.wait(tasks, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        else:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _POLL_S)

    async def _drain(self, timeout_s: float) -> None:
        tasks = [task for _, task in self._playing.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        self._reap()
        unfinished = [delivery for delivery, _ in self._playing.values()]
        for _, task in self._playing.values():
            task.cancel()
        await asyncio.gather(*(task for _, task in self._playing.values()), return_exceptions=True)
        await self._consumer.release(unfinished)
        self._playing.clear()
        await self._replay_spool()
        self._log.info("drained", given_back=len(unfinished), spooled=len(self._spool))

    async def _beat(self) -> None:
        """Tell the broker which tasks are being worked on, so that nobody claims them."""
        while True:
            await asyncio.sleep(self._beat_s)
            await self._consumer.heartbeat([delivery for delivery, _ in self._playing.values()])
