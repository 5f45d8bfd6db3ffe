"""Names of a run's keys. The braces put a run on one Cluster slot, so that every script stays legal (spec/streams.md,
3).
"""

from dataclasses import dataclass

from hiper.vocabulary import Stream

__all__ = ["GROUPS", "PIPELINE", "Keys"]

PIPELINE = (Stream.TASKS, Stream.RAW, Stream.SCORED, Stream.ADVANTAGES)
"""The streams that have a consumer group, in the order a trajectory passes them."""

GROUPS = {Stream.TASKS: "rollout", Stream.RAW: "reward", Stream.SCORED: "hae", Stream.ADVANTAGES: "learner"}
"""The one consumer group of each stream. One per stream is part of the contract: an acknowledged entry is deleted."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of one run."""

    run: str

    def _key(self, name: str) -> str:
        return f"hiper:{{{self.run}}}:{name}"

    def stream(self, stream: Stream) -> str:
        """Key of a stream."""
        return self._key(stream.value)

    def members(self, batch_id: str) -> str:
        """Hash of a batch's members, until the batch is handed off."""
        return self._key(f"group:{batch_id}")

    def set_aside(self, batch_id: str) -> str:
        """The same hash while the batch is a dead letter."""
        return self._key(f"group.dead:{batch_id}")

    def closed(self, batch_id: str) -> str:
        """Marker of a batch that takes no more members."""
        return self._key(f"closed:{batch_id}")

    def issued(self, batch_id: str) -> str:
        """Set of the trajectory ids issued for a batch."""
        return self._key(f"issued:{batch_id}")

    def dedup(self, trajectory_id: str) -> str:
        """Marker of a published trajectory."""
        return self._key(f"dedup:{trajectory_id}")

    @property
    def due(self) -> str:
        """Sorted set of batches that have a hash, by deadline in server milliseconds; `inf` once a batch is closed."""
        return self._key("groups.due")

    @property
    def counts(self) -> str:
        """Hash of the counters of the conservation law."""
        return self._key("counts")

    @property
    def policy(self) -> str:
        """Hash of the published policy."""
        return self._key("policy")

    @property
    def control(self) -> str:
        """Hash of what people want of the run, and what the learner made of it."""
        return self._key("control")

    @property
    def epoch(self) -> str:
        """Random id written once, when the run is created."""
        return self._key("epoch")

    @property
    def lease(self) -> str:
        """The learner's lease: its generation, with a time to live."""
        return self._key("learner.lease")

    @property
    def generation(self) -> str:
        """Generation of the newest learner."""
        return self._key("learner.gen")
