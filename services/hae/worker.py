"""traj.scored -> values, advantages, targets -> traj.adv (protocol P4).

A batch is handed on whole, in one script that also acknowledges it; until then the entry is pending and the members
wait in the batch's hash, so the process may be killed anywhere. While it works it says so, or another process would
take the batch over. Evaluation batches pass through: they need no critic.
"""

import asyncio
import time
from collections.abc import Sequence

from hiper import logs, tracing
from hiper._proto.common.v1.types_pb2 import TASK_KIND_EVAL
from hiper._proto.trajectory.v1.trajectory_pb2 import BatchReady, Trajectory
from hiper.errors import DataError, IntegrityError
from hiper.failpoint import Failpoint, failpoint
from hiper.metrics import counter, histogram
from hiper.streams import Batches, Consumer, Delivery
from hiper.vocabulary import Stream
from services.hae.detectors import Detectors
from services.hae.estimate import estimate
from services.hae.estimators import Estimator
from services.hae.health import export, measure
from services.hae.rows import value_queries
from services.hae.values import CriticReading, ValueSource

__all__ = ["HaeWorker"]

_DRAIN_S = 10.0
"""How long a batch in work may go on after the stop; then it is given back."""


class HaeWorker:
    """Works on one batch at a time until it is told to stop."""

    def __init__(
        self, consumer: Consumer, batches: Batches, critic: ValueSource, estimator: Estimator, detectors: Detectors
    ) -> None:
        self._consumer = consumer
        self._batches = batches
        self._critic = critic
        self._estimator = estimator
        self._detectors = detectors
        self._log = logs.get()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`. A batch that cannot be finished, for whatever reason, is given back to the others."""
        while not stop.is_set():
            for delivery in await self._consumer.receive(1):
                work = asyncio.create_task(self._keep_and_handle(delivery))
                try:
                    await _until(stop, work)
                    await work
                except asyncio.CancelledError:
                    await self._consumer.release([delivery])
                    if not stop.is_set():
                        raise

    async def _keep_and_handle(self, delivery: Delivery) -> None:
        try:
            async with self._consumer.kept(delivery):
                await self.handle(delivery)
        except (DataError, IntegrityError) as error:
            await self._consumer.dead_letter(delivery, str(error))
            counter("hae_batches_total").labels(kind="unknown", result="invalid").inc()
        except Exception:
            # Not this batch's fault: the critic or the broker stayed away. Somebody else may have better luck.
            await self._consumer.release([delivery])
            raise

    async def handle(self, delivery: Delivery) -> None:
        """Hand one batch on, with advantages if it is for training."""
        ready = delivery.batch_ready()
        members = await self._batches.members(ready.batch_id)
        if len(members) != ready.members:
            self._log.info("batch was handed on meanwhile", batch_id=ready.batch_id)
            return
        kind = "eval" if members and members[0].task.kind == TASK_KIND_EVAL else "train"
        names = dict.fromkeys((one.task.trajectory_id for one in members), "")
        with tracing.batch("hae", Stream.SCORED, ready.batch_id, names):
            if kind == "train" and members:
                await self._estimate(members)
            await self._hand_off(delivery, ready, members, kind)

    async def _estimate(self, members: Sequence[Trajectory]) -> None:
        started = time.perf_counter()
        reading = await self._critic.read(value_queries(members))
        had_values = time.perf_counter()
        await asyncio.to_thread(self._compute, members, reading)
        _observe("values", had_values - started)
        _observe("advantages", time.perf_counter() - had_values)

    async def _hand_off(self, delivery: Delivery, ready: BatchReady, members: Sequence[Trajectory], kind: str) -> None:
        started = time.perf_counter()
        failpoint(Failpoint.HAE_BEFORE_HAND_OFF)
        done = await self._batches.hand_off(delivery, ready, members)
        failpoint(Failpoint.HAE_AFTER_HAND_OFF)
        _observe("hand_off", time.perf_counter() - started)
        histogram("hae_batch_members").observe(len(members))
        counter("hae_batches_total").labels(kind=kind, result="handed_on" if done else "fenced").inc()
        self._log.info(
            "batch handed on" if done else "batch was handed on by another process",
            batch_id=ready.batch_id,
            members=len(members),
            expected=ready.expected,
        )

    def _compute(self, members: Sequence[Trajectory], reading: CriticReading) -> None:
        batch, result = estimate(members, reading, self._estimator)
        health = measure(members, batch, result)
        export(health, result)
        self._detectors.see(health)


def _observe(phase: str, seconds: float) -> None:
    histogram("hae_batch_duration_seconds").labels(phase=phase).observe(seconds)


async def _until(stop: asyncio.Event, work: asyncio.Task[None]) -> None:
    """Wait for `work`; once `stop` is set it has `_DRAIN_S` left, then it is cancelled."""
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            await asyncio.wait({work}, timeout=_DRAIN_S)
            work.cancel()
    except asyncio.CancelledError:
        work.cancel()
        raise
    finally:
        stopped.cancel()
