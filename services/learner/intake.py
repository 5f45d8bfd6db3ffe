"""The learner's end of traj.adv: what came, what of it is new, and what is done with.

An entry waits here, pending in the stream, for the rest of its batch, for an evaluation, for the next checkpoint. One
whose outcome a checkpoint holds already is acknowledged on sight.
"""

from collections import Counter
from collections.abc import Mapping

from hiper.errors import IntegrityError
from hiper.metrics import counter
from hiper.streams import Broker, Consumer, Delivery, LearnerLease, Verdict, apply_ack
from hiper.vocabulary import DropReason
from services.learner.inbox import Inbox, WholeBatch
from services.learner.state import RunState

__all__ = ["Intake"]

_RECEIVE = 256


class Intake:
    """Reads entries until they are acknowledged."""

    def __init__(self, broker: Broker, consumer: Consumer, lease: LearnerLease) -> None:
        self._broker = broker
        self._consumer = consumer
        self._lease = lease
        self._inbox = Inbox()
        self._done: dict[str, Verdict] = {}
        """Entry id -> verdict, of what came into effect since the last checkpoint."""

    async def receive(self, state: RunState) -> None:
        """Read what has come; returns within the broker's `block_ms`. Raises LeaseLost, BrokerError, BrokerLost."""
        repeated: dict[str, Verdict] = {}
        for delivery in await self._consumer.receive(_RECEIVE):
            if delivery.entry_id in self._done:
                continue  # no checkpoint holds it yet
            if state.is_past(delivery.batch_id):
                verdict = state.verdict(delivery.batch_id, delivery.trajectory_id)
                repeated[delivery.entry_id] = verdict or (DropReason.LATE if delivery.members else "empty")
            else:
                await self._file(delivery)
        await self._acknowledge(repeated)

    def whole(self, batch_id: str) -> WholeBatch | None:
        """Return the batch if all of it has come."""
        return self._inbox.whole(batch_id)

    def progress(self, batch_id: str) -> str:
        """Say how much of a batch has come, for an error message."""
        return self._inbox.progress(batch_id)

    @property
    def unsettled(self) -> bool:
        """Whether something came into effect since the last checkpoint."""
        return bool(self._done)

    def done(self, batch: WholeBatch, verdicts: Mapping[str, Verdict]) -> None:
        """Take a batch out. `verdicts`, by trajectory id, are acknowledged once a checkpoint holds them."""
        self._done |= {batch.entries[name]: verdict for name, verdict in verdicts.items()}
        self._inbox.discard(batch.batch_id)

    async def acknowledge(self) -> None:
        """Acknowledge everything that is done; a checkpoint must hold it. Raises LeaseLost."""
        await self._acknowledge(self._done)
        self._done = {}

    async def _acknowledge(self, verdicts: Mapping[str, Verdict]) -> None:
        if not verdicts:
            return
        await apply_ack(self._broker, self._lease, verdicts)
        for verdict, number in Counter(verdicts.values()).items():
            if verdict == "applied":
                counter("learner_trajectories_applied_total").inc(number)
            elif verdict != "empty":
                counter("learner_trajectories_dropped_total").labels(reason=str(verdict)).inc(number)

    async def _file(self, delivery: Delivery) -> None:
        try:
            self._inbox.add(delivery)
        except IntegrityError as error:
            await self._consumer.dead_letter(delivery, str(error))
