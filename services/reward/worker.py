"""traj.raw -> reward -> the trajectory's batch (protocol P3).

Nothing is kept between entries, and an entry stays pending until the script that hands it on acknowledges it: the
process may be killed anywhere, and scoring again gives the same numbers. What cannot be read or contradicts itself goes
to the dead letters (P6) with the contradiction as its error.
"""

import asyncio
import time

from hiper import logs
from hiper.advantages.shaping import ShapingConfig
from hiper.errors import IntegrityError
from hiper.failpoint import Failpoint, failpoint
from hiper.metrics import counter, histogram
from hiper.streams import Batches, Consumer, Delivery
from services.reward.terms import score
from services.reward.validate import contradiction

__all__ = ["RewardWorker"]

_AT_ONCE = 16
"""Entries read and handed on together; hand-offs of one read share the round trips to the broker."""


class RewardWorker:
    """Scores trajectories until it is told to stop."""

    def __init__(self, consumer: Consumer, batches: Batches, config: ShapingConfig) -> None:
        self._consumer = consumer
        self._batches = batches
        self._config = config
        self._log = logs.get()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what has been read is handed on before this returns."""
        while not stop.is_set():
            deliveries = await self._consumer.receive(_AT_ONCE)
            async with asyncio.TaskGroup() as tasks:
                for delivery in deliveries:
                    tasks.create_task(self.handle(delivery))

    async def handle(self, delivery: Delivery) -> None:
        """Score one trajectory and hand it on."""
        started = time.perf_counter()
        try:
            trajectory = delivery.trajectory()
            fault = contradiction(trajectory)
            if fault:
                raise IntegrityError(f"trajectory {delivery.trajectory_id} contradicts itself: {fault}")
        except IntegrityError as error:
            await self._consumer.dead_letter(delivery, str(error))
            counter("reward_trajectories_total").labels(result="invalid").inc()
            return
        score(trajectory, self._config)
        histogram("reward_compute_duration_seconds").observe(time.perf_counter() - started)
        failpoint(Failpoint.REWARD_BEFORE_HAND_OFF)
        result = await self._batches.add_member(delivery, trajectory)
        failpoint(Failpoint.REWARD_AFTER_HAND_OFF)
        counter("reward_trajectories_total").labels(result=result).inc()
        if result == "completed":
            self._log.info("batch complete", batch_id=trajectory.task.batch_id)
        elif result == "late":
            self._log.warning("trajectory came after its batch was closed", trajectory_id=delivery.trajectory_id)
