"""traj.raw -> reward -> the trajectory's batch (protocol P3).

Nothing is kept between entries, and an entry stays pending until the script that hands it on acknowledges it: the
process may be killed anywhere, and the trajectory is scored again. What cannot be read, contradicts itself or cannot be
scored goes to the dead letters (P6) with the reason as its error. A trajectory that waits for a slow term holds up no
other, until half of the places are held that way.
"""

import asyncio
import time

from hiper import logs, tracing
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.advantages.shaping import ShapingConfig
from hiper.errors import IntegrityError
from hiper.failpoint import Failpoint, failpoint
from hiper.metrics import counter, histogram
from hiper.streams import SCHEMA_VERSION, Batches, Consumer, Delivery
from hiper.vocabulary import Stream
from services.reward.plugins import PluginTerms, TermError
from services.reward.terms import score
from services.reward.validate import contradiction

__all__ = ["RewardWorker"]

_READ = 16
"""Entries read together: their hand-offs share the round trips to the broker."""
_AT_ONCE = 2 * _READ
"""Trajectories in work."""


class RewardWorker:
    """Scores trajectories until it is told to stop."""

    def __init__(self, consumer: Consumer, batches: Batches, config: ShapingConfig, plugins: PluginTerms) -> None:
        self._consumer = consumer
        self._batches = batches
        self._config = config
        self._plugins = plugins
        self._log = logs.get()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what has been read is handed on before this returns."""
        working: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as tasks:
            while not stop.is_set():
                for delivery in await self._consumer.receive(_READ):
                    task = tasks.create_task(self.handle(delivery))
                    working.add(task)
                    task.add_done_callback(working.discard)
                while len(working) > _AT_ONCE - _READ:
                    await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)

    async def handle(self, delivery: Delivery) -> None:
        """Score one trajectory and hand it on."""
        with tracing.trajectory("reward", Stream.RAW, delivery.trajectory_id, delivery.traceparent):
            await self._handle(delivery)

    async def _handle(self, delivery: Delivery) -> None:
        try:
            async with self._consumer.kept(delivery):
                trajectory = await self._scored(delivery)
        except (IntegrityError, TermError) as error:
            await self._consumer.dead_letter(delivery, f"trajectory {delivery.trajectory_id}: {error}")
            result = "term_failed" if isinstance(error, TermError) else "invalid"
            counter("reward_trajectories_total").labels(result=result).inc()
            return
        failpoint(Failpoint.REWARD_BEFORE_HAND_OFF)
        result = await self._batches.add_member(delivery, trajectory)
        failpoint(Failpoint.REWARD_AFTER_HAND_OFF)
        counter("reward_trajectories_total").labels(result=result).inc()
        if result == "completed":
            self._log.info("batch complete", batch_id=trajectory.task.batch_id)
        elif result == "late":
            self._log.warning("trajectory came after its batch was closed", trajectory_id=delivery.trajectory_id)

    async def _scored(self, delivery: Delivery) -> Trajectory:
        """The trajectory with its rewards. Raises `IntegrityError` and `TermError`."""
        started = time.perf_counter()
        trajectory = delivery.trajectory()
        if not 0 < trajectory.schema_version <= SCHEMA_VERSION:
            raise IntegrityError(f"its schema_version is {trajectory.schema_version}, unknown here")
        fault = contradiction(trajectory)
        if fault:
            raise IntegrityError(f"it contradicts itself: {fault}")
        score(trajectory, self._config, await self._plugins.rewards(trajectory))
        histogram("reward_compute_duration_seconds").observe(time.perf_counter() - started, tracing.exemplar())
        return trajectory
