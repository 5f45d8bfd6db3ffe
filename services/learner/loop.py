"""The learner's loop: issue, collect, apply, checkpoint, acknowledge, publish.

Order is the guarantee (spec/streams.md, P8): a trajectory's effect is in a checkpoint before its entry is
acknowledged, and the checkpoint is written before its weights are announced. Whatever this process was doing when it
was killed, a restart finds the entries again and skips those its checkpoint holds.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hiper import logs, tracing
from hiper.config import RunConfig, config_hash
from hiper.durable import JsonValue
from hiper.errors import RunStateError
from hiper.failpoint import Failpoint, failpoint
from hiper.metrics import gauge, histogram
from hiper.streams import Broker, Consumer, LearnerLease, PolicyBoard, RunControl, TaskQueue, Verdict
from hiper.vocabulary import Stream
from hiper.weights.front import FilesystemFront, WeightsFront
from services.learner.checkpoint import CheckpointStore
from services.learner.inbox import WholeBatch
from services.learner.intake import Intake
from services.learner.judging import Bounds, judge
from services.learner.lineage import take_up_lineage
from services.learner.orders import Orders
from services.learner.panels import keep_panels
from services.learner.publish import WeightsPublisher
from services.learner.records import LineFile, eval_line, evaluate
from services.learner.rows import TrainRow
from services.learner.state import RunState
from services.learner.summary import batch_summary, explained_variance, export, export_evaluation
from services.learner.tasks import TaskPlan, eval_batch_id, train_batch_id
from services.learner.trainer import Metrics, Trainer

__all__ = ["CHECKPOINTS", "REMIND_S", "LearnerLoop", "Ports"]

CHECKPOINTS = "checkpoints"
"""Folder of a run's checkpoints."""
REMIND_S = 30.0
"""A learner that waits this long says again what it waits for."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What the loop talks to."""

    broker: Broker
    consumer: Consumer
    queue: TaskQueue
    lease: LearnerLease
    board: PolicyBoard
    front: WeightsFront = field(default_factory=FilesystemFront)


class LearnerLoop:
    """Runs one learner from its newest checkpoint to the end of the run."""

    def __init__(self, config: RunConfig, run_dir: Path, plan: TaskPlan, trainer: Trainer, ports: Ports) -> None:
        self._config = config
        self._run_dir = run_dir
        self._plan = plan
        self._trainer = trainer
        self._ports = ports
        self._intake = Intake(ports.broker, ports.consumer, ports.lease)
        self._store = CheckpointStore(run_dir / CHECKPOINTS, config.learner.keep_checkpoints)
        self._publisher = WeightsPublisher(run_dir / "weights", config, ports.board, ports.front)
        self._metrics = LineFile(run_dir / "metrics.jsonl")
        self._evals = LineFile(run_dir / "evals.jsonl")
        self._orders = Orders(RunControl(ports.broker), run_dir)
        self._state = RunState()
        self._log = logs.get()

    @property
    def finished(self) -> bool:
        """True once every iteration is applied and every due evaluation is in, or a person has stopped the run."""
        return self._orders.stopped or (
            self._state.version >= self._config.learner.iterations and not self._awaits_evaluation()
        )

    async def recover(self) -> None:
        """Take up the newest checkpoint, or begin, and announce its weights."""
        restored = await asyncio.to_thread(self._store.load, self._trainer)
        self._state = restored or RunState()
        known = await take_up_lineage(self._state, self._ports.broker, adopt=self._config.learner.adopt_checkpoint)
        settings = config_hash(self._config)
        if restored and restored.config_sha256 != settings:
            self._log.warning("the settings are not those the checkpoint was made with", now=settings)
        self._state.config_sha256 = settings
        await asyncio.to_thread(keep_panels, self._run_dir, self._plan.panels, self._state.panels)
        self._state.panels = self._plan.panels.hashes
        self._metrics.rewind(self._state.version, self._state.last_line)
        self._evals.rewind(max((record.version for record in self._state.evaluations), default=-1))
        if not known:
            await self._checkpoint()
        await self._publish()

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until the run is finished or `stop` is set."""
        issued_at = -1
        waiting_since = reminded = time.monotonic()
        while not self.finished and not stop.is_set():
            if self._state.version > issued_at:
                await self._orders.obey(self._state.version, self._settle, stop)
                if self._orders.stopped:
                    break
                await self._issue()
                issued_at = self._state.version
                waiting_since = reminded = time.monotonic()
            waited_s = time.monotonic() - waiting_since
            if await self._advance(waited_s, stop):
                waiting_since = reminded = time.monotonic()
            else:
                self._check_stall(waited_s)
                if time.monotonic() - reminded > REMIND_S:
                    await self._remind()
                    reminded = time.monotonic()
                await self._intake.receive(self._state)
        if self.finished:
            await self._orders.finish(self._state.version)

    async def _issue(self) -> None:
        """Issue everything due at this version; what was issued before is recognised by its ids."""
        version, learner = self._state.version, self._config.learner
        tasks = []
        if self._awaits_evaluation():
            tasks += self._plan.eval_batch(version)
        for batch in range(version, min(version + learner.max_staleness + 1, learner.iterations)):
            tasks += self._plan.train_batch(batch)
        added = await self._ports.queue.issue(tasks)
        if added:
            self._log.info("tasks issued", policy_version=version, new=added)

    async def _remind(self) -> None:
        """Say again what the others wait for: a broker that lost its last second (`everysec`) has forgotten it."""
        await self._issue()
        await self._publisher.announce_again()

    async def _advance(self, waited_s: float, stop: asyncio.Event) -> bool:
        """Take the next batch if it has come; return whether there was one.

        The evaluation of a version comes before its training batch: the figure belongs to exactly one policy.
        """
        version = self._state.version
        evaluates = self._awaits_evaluation()
        batch = self._intake.whole(eval_batch_id(version) if evaluates else train_batch_id(version))
        if batch is None:
            return False
        name = "learner.evaluate" if evaluates else "learner.step"
        with tracing.batch(name, Stream.ADVANTAGES, batch.batch_id, batch.traceparents):
            await (self._evaluate(batch) if evaluates else self._apply(batch, waited_s, stop))
        return True

    def _awaits_evaluation(self) -> bool:
        version = self._state.version
        due = self._plan.evaluation_due(version) or self._orders.evaluation
        return due and not self._state.evaluated(version)

    async def _evaluate(self, batch: WholeBatch) -> None:
        trajectories = list(batch.trajectories.values())
        record = evaluate(self._state.version, self._plan.panels, trajectories)
        self._state.evaluations.append(record)
        line = eval_line(record)
        self._evals.append(line)
        self._enter(batch, dict.fromkeys(batch.trajectories, "applied"))
        await self._checkpoint()
        await self._orders.evaluated()
        export_evaluation(record, self._plan.panels.evaluation.env)
        self._log.info("evaluated", policy_version=record.version, success=line["success"], played=line["played"])

    async def _apply(self, batch: WholeBatch, waited_s: float, stop: asyncio.Event) -> None:
        failpoint(Failpoint.LEARNER_BEFORE_UPDATE)
        version = self._state.version
        bounds = Bounds(version, self._config.learner.max_staleness, self._trainer.vocabulary)
        judged = judge(batch.trajectories, bounds)
        update = await self._update(judged.rows, version, stop)
        if update is None:
            return
        failpoint(Failpoint.LEARNER_AFTER_UPDATE)
        applied = [batch.trajectories[name] for name, verdict in judged.verdicts.items() if verdict == "applied"]
        line: dict[str, float] = {
            "version": version + 1,
            "time": time.time(),
            **batch_summary(applied, batch.expected),
            "staleness": sum(judged.staleness) / max(1, len(judged.staleness)),
            **explained_variance(judged.rows),
            **update,
            "seconds_wait": waited_s,
        }
        self._state.version = version + 1
        self._state.last_line = self._labelled(line)
        self._enter(batch, judged.verdicts)
        with _timed(line, "checkpoint"):
            if self._checkpoint_due():
                await self._checkpoint()
        with _timed(line, "publish"):
            await self._publish()
        self._metrics.append(self._labelled(line))
        export(line)
        self._log.info(
            "policy updated", policy_version=version + 1, rows=len(judged.rows), success=line.get("success", 0.0)
        )

    async def _update(self, rows: list[TrainRow], version: int, stop: asyncio.Event) -> Metrics | None:
        """Update in a thread of its own; None if `stop` came first. The checkpoint knows nothing of such an update."""
        if not rows:
            return {}
        update = asyncio.create_task(asyncio.to_thread(self._trainer.update, rows, version))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({update, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not update.done():
                self._trainer.interrupt()
            return await update
        finally:
            stopped.cancel()
            if not update.done():
                self._trainer.interrupt()

    def _labelled(self, line: Mapping[str, float]) -> dict[str, JsonValue]:
        """A line of metrics.jsonl: figures, and the hashes of the panels they belong to."""
        return {**line, **{f"{kind}_panel_sha256": digest for kind, digest in self._plan.panels.hashes.items()}}

    def _checkpoint_due(self) -> bool:
        version, learner = self._state.version, self._config.learner
        last = version >= learner.iterations
        return last or version % learner.checkpoint_every == 0 or self._plan.evaluation_due(version)

    def _enter(self, batch: WholeBatch, verdicts: Mapping[str, Verdict]) -> None:
        complete: dict[str, Verdict] = {name: verdicts.get(name, "empty") for name in batch.entries}
        self._state.record(batch.batch_id, complete)
        self._intake.done(batch, complete)

    async def _settle(self) -> None:
        """Put what no checkpoint holds yet into one."""
        if self._intake.unsettled:
            await self._checkpoint()

    async def _checkpoint(self) -> None:
        """Write the checkpoint, then acknowledge what it holds. Between the two a crash only repeats the latter."""
        seconds: dict[str, float] = {}
        with _timed(seconds, "checkpoint"):
            generation = self._ports.lease.generation
            written = await asyncio.to_thread(self._store.save, self._trainer, self._state, generation)
        gauge("learner_checkpoint_bytes").set(written.bytes)
        gauge("learner_last_checkpoint_timestamp_seconds").set(time.time())
        histogram("learner_step_duration_seconds").labels(phase="checkpoint").observe(seconds["seconds_checkpoint"])
        failpoint(Failpoint.LEARNER_AFTER_CHECKPOINT)
        await self._intake.acknowledge()
        failpoint(Failpoint.LEARNER_AFTER_ACK)
        self._state.forget_acknowledged()

    async def _publish(self) -> None:
        # A learner that was frozen and replaced must not touch its successor's weights.
        await self._ports.lease.renew()
        await self._publisher.publish(self._trainer, self._state.version, self._ports.lease.generation)

    def _check_stall(self, waited_s: float) -> None:
        bound_s = self._config.learner.batch_timeout_s
        if waited_s > bound_s:
            version = self._state.version
            missing = eval_batch_id(version) if self._awaits_evaluation() else train_batch_id(version)
            raise RunStateError(
                f"batch {missing} did not come within {bound_s:g} s at policy version {version}: "
                f"{self._intake.progress(missing)} here",
                "`hiper status` shows the stage that holds it, `hiper dlq list` what was given up; "
                "learner.batch_timeout_s is the bound",
            )


@contextmanager
def _timed(line: dict[str, float], phase: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    line[f"seconds_{phase}"] = time.monotonic() - started
