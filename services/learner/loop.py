"""The learner's loop: issue, collect, apply, checkpoint, acknowledge, publish.

Order is the guarantee (spec/streams.md, P8): a trajectory's effect is in a checkpoint before its entry is
acknowledged, and the checkpoint is written before its weights are announced. Whatever this process was doing when it
was killed, a restart finds the entries again and skips those its checkpoint holds.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hiper import logs
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.config import RunConfig
from hiper.durable import write_json
from hiper.errors import IntegrityError, RunStateError
from hiper.metrics import counter, gauge, histogram
from hiper.streams import Broker, Consumer, LearnerLease, PolicyBoard, TaskQueue, Verdict, apply_ack
from hiper.vocabulary import DropReason
from services.learner.checkpoint import CheckpointStore
from services.learner.inbox import Inbox, WholeBatch
from services.learner.publish import WeightsPublisher
from services.learner.records import LineFile, eval_line
from services.learner.rows import TrainRow, rows_of
from services.learner.state import EvalRecord, RunState
from services.learner.summary import batch_summary, export
from services.learner.tasks import TaskPlan, eval_batch_id, train_batch_id
from services.learner.trainer import Trainer

__all__ = ["LearnerLoop", "Ports"]

_RECEIVE = 256


@dataclass(frozen=True, slots=True)
class Ports:
    """What the loop talks to."""

    broker: Broker
    consumer: Consumer
    queue: TaskQueue
    lease: LearnerLease
    board: PolicyBoard


class LearnerLoop:
    """Runs one learner from its newest checkpoint to the end of the run."""

    def __init__(self, config: RunConfig, run_dir: Path, plan: TaskPlan, trainer: Trainer, ports: Ports) -> None:
        self._config = config
        self._run_dir = run_dir
        self._plan = plan
        self._trainer = trainer
        self._ports = ports
        self._store = CheckpointStore(run_dir / "checkpoints", config.learner.keep_checkpoints)
        self._publisher = WeightsPublisher(run_dir / "weights", config, ports.board)
        self._metrics = LineFile(run_dir / "metrics.jsonl")
        self._evals = LineFile(run_dir / "evals.jsonl")
        self._inbox = Inbox()
        self._state = RunState()
        self._unacknowledged: dict[str, Verdict] = {}
        """Entry id -> verdict, of what was applied since the last checkpoint."""
        self._log = logs.get()

    @property
    def finished(self) -> bool:
        """True once every iteration is applied and every due evaluation is in."""
        final = self._config.learner.iterations
        return self._state.version >= final and self._state.evaluated(final)

    async def recover(self) -> None:
        """Take up the newest checkpoint, or begin, and announce its weights."""
        restored = await asyncio.to_thread(self._store.load, self._trainer)
        self._state = restored or RunState()
        self._metrics.rewind(self._state.version)
        self._evals.rewind(max((record.version for record in self._state.evaluations), default=-1))
        if restored is None:
            await self._checkpoint()
        await self._publish()

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until the run is finished or `stop` is set."""
        issued_up_to = -1
        waiting_since = time.monotonic()
        while not self.finished and not stop.is_set():
            if self._state.version > issued_up_to:
                await self._issue()
                issued_up_to, waiting_since = self._state.version, time.monotonic()
            if await self._apply_what_is_whole(time.monotonic() - waiting_since):
                waiting_since = time.monotonic()
                continue
            for delivery in await self._ports.consumer.receive(_RECEIVE):
                try:
                    self._inbox.add(delivery)
                except IntegrityError as error:
                    await self._ports.consumer.dead_letter(delivery, str(error))
            self._check_stall(time.monotonic() - waiting_since)
        if self.finished:
            write_json(self._run_dir / "finished.json", {"policy_version": self._state.version})
            self._log.info("run finished", policy_version=self._state.version)

    async def _issue(self) -> None:
        """Issue everything due at this version; what was issued before is recognised by its ids."""
        version, learner = self._state.version, self._config.learner
        tasks = []
        if self._plan.evaluation_due(version) and not self._state.evaluated(version):
            tasks += self._plan.eval_batch(version)
        for batch in range(version, min(version + learner.max_staleness + 1, learner.iterations)):
            tasks += self._plan.train_batch(batch)
        added = await self._ports.queue.issue(tasks)
        self._log.info("tasks issued", policy_version=version, new=added)

    async def _apply_what_is_whole(self, waited_s: float) -> bool:
        """Apply the next batch if it and the evaluation that is due have come; return whether anything was done.

        The evaluation of a version comes before its training batch: the figure belongs to exactly one policy.
        """
        version = self._state.version
        if batch := self._recall(eval_batch_id(version)):
            return await self._record_evaluation(batch)
        if self._plan.evaluation_due(version) and not self._state.evaluated(version):
            return False
        batch = self._inbox.whole(train_batch_id(version))
        if batch is not None and version < self._config.learner.iterations:
            await self._apply(batch, waited_s)
            return True
        return await self._acknowledge_repeats()

    def _recall(self, batch_id: str) -> WholeBatch | None:
        batch = self._inbox.whole(batch_id)
        return batch if batch is not None and batch_id not in self._state.ledger else None

    async def _acknowledge_repeats(self) -> bool:
        """Acknowledge batches a checkpoint holds already: the crash came between the two."""
        repeated = False
        for batch_id in list(self._state.ledger):
            batch = self._inbox.whole(batch_id)
            if batch is None:
                continue
            verdicts = {
                entry: self._state.verdict(batch_id, name) or DropReason.LATE for name, entry in batch.entries.items()
            }
            await apply_ack(self._ports.broker, self._ports.lease, verdicts)
            self._inbox.discard(batch_id)
            repeated = True
        return repeated

    async def _record_evaluation(self, batch: WholeBatch) -> bool:
        version = self._state.version
        trajectories = list(batch.trajectories.values())
        record = _evaluate(version, self._config.evaluation.split, trajectories, batch.expected)
        self._state.evaluations.append(record)
        line = eval_line(record)
        self._evals.append(line)
        self._enter(batch, dict.fromkeys(batch.trajectories, "applied"))
        await self._checkpoint()
        self._log.info("evaluated", policy_version=version, success=line["success"], played=line["played"])
        _export_evaluation(self._config, record)
        return True

    async def _apply(self, batch: WholeBatch, waited_s: float) -> None:
        version = self._state.version
        verdicts, rows = self._judge(batch)
        update = await asyncio.to_thread(self._trainer.update, rows, version) if rows else {}
        kept = [batch.trajectories[name] for name, verdict in verdicts.items() if verdict == "applied"]
        line = {
            "version": version + 1,
            "time": time.time(),
            **batch_summary(kept, batch.expected),
            **update,
            "seconds_wait": waited_s,
        }
        self._state.version = version + 1
        self._enter(batch, verdicts)
        self._metrics.append(line)
        if self._state.version % self._config.learner.checkpoint_every == 0 or self._is_last():
            await self._checkpoint()
        await self._publish()
        export(line)
        self._log.info("policy updated", policy_version=version + 1, rows=len(rows), success=line["success"])

    def _is_last(self) -> bool:
        return self._state.version >= self._config.learner.iterations or self._plan.evaluation_due(self._state.version)

    def _judge(self, batch: WholeBatch) -> tuple[dict[str, Verdict], list[TrainRow]]:
        """Decide what counts: rows of the trajectories that are neither stale nor contradictory."""
        verdicts: dict[str, Verdict] = {}
        rows: list[TrainRow] = []
        for name, trajectory in sorted(batch.trajectories.items()):
            verdicts[name], own = self._judge_one(trajectory)
            rows += own
        return verdicts, rows

    def _judge_one(self, trajectory: Trajectory) -> tuple[Verdict, list[TrainRow]]:
        oldest = min((turn.policy_version_start for turn in trajectory.turns), default=self._state.version)
        staleness = self._state.version - oldest
        histogram("learner_staleness_versions").observe(staleness)
        if staleness > self._config.learner.max_staleness:
            return DropReason.STALE, []
        try:
            return "applied", rows_of([trajectory])
        except IntegrityError as error:
            self._log.error("trajectory dropped", trajectory_id=trajectory.task.trajectory_id, error=str(error))
            return DropReason.INVALID, []

    def _enter(self, batch: WholeBatch, verdicts: dict[str, Verdict]) -> None:
        complete: dict[str, Verdict] = {name: verdicts.get(name, "empty") for name in batch.entries}
        self._state.record(batch.batch_id, complete)
        self._unacknowledged |= {batch.entries[name]: verdict for name, verdict in complete.items()}
        self._inbox.discard(batch.batch_id)

    async def _checkpoint(self) -> None:
        """Write the checkpoint, then acknowledge what it holds. Between the two a crash only repeats the latter."""
        started = time.monotonic()
        generation = self._ports.lease.generation
        written = await asyncio.to_thread(self._store.save, self._trainer, self._state, generation)
        gauge("learner_checkpoint_bytes").set(written.bytes)
        gauge("learner_last_checkpoint_timestamp_seconds").set(time.time())
        histogram("learner_step_duration_seconds").labels(phase="checkpoint").observe(time.monotonic() - started)
        verdicts, self._unacknowledged = self._unacknowledged, {}
        await apply_ack(self._ports.broker, self._ports.lease, verdicts)
        for verdict, number in Counter(verdicts.values()).items():
            if verdict == "applied":
                counter("learner_trajectories_applied_total").inc(number)
            elif verdict != "empty":
                counter("learner_trajectories_dropped_total").labels(reason=str(verdict)).inc(number)

    async def _publish(self) -> None:
        await self._publisher.publish(self._trainer.actor, self._state.version, self._ports.lease.generation)

    def _check_stall(self, waited_s: float) -> None:
        bound_s = self._config.learner.batch_timeout_s
        if waited_s > bound_s:
            version = self._state.version
            names = [eval_batch_id(version), train_batch_id(version)]
            missing = "; ".join(f"{name}: {self._inbox.progress(name)}" for name in names)
            raise RunStateError(
                f"no batch came for {bound_s:g} s at policy version {version} ({missing})",
                "look at `hiper status` for the stage that holds the entries; learner.batch_timeout_s is the bound",
            )


def _evaluate(version: int, split: str, trajectories: list[Trajectory], expected: int) -> EvalRecord:
    played = Counter(trajectory.task_type for trajectory in trajectories)
    won = Counter(trajectory.task_type for trajectory in trajectories if trajectory.outcome.won)
    turns = sum(len(trajectory.turns) for trajectory in trajectories) / max(1, len(trajectories))
    return EvalRecord(version, split, dict(won), dict(played), turns, expected)


def _export_evaluation(config: RunConfig, record: EvalRecord) -> None:
    gauge("eval_policy_version").set(record.version)
    for kind, played in record.played.items():
        labels = {"env": config.env.name.value, "task_type": kind, "split": record.split}
        gauge("eval_success_ratio").labels(**labels).set(record.won.get(kind, 0) / played)
