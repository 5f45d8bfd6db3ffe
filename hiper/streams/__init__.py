"""Delivery between services: streams in a Redis-protocol server, under the promise of docs/guarantees.md.

Every step that moves an entry is one script, acknowledges it and counts it: what is acknowledged has been handed on,
and what was handed on is acknowledged. An entry is deleted by the script that acknowledges it, so a stream holds what
is in flight.
"""

from hiper.streams.batches import Batches, MemberResult
from hiper.streams.broker import Broker
from hiper.streams.consumer import Consumer
from hiper.streams.control import ControlRecord, RunControl, RunPhase, ScaleWish
from hiper.streams.counts import Counts
from hiper.streams.dead_letters import DeadLetter, DeadLetters
from hiper.streams.entry import MAX_ENTRY_BYTES, SCHEMA_VERSION, Delivery
from hiper.streams.errors import BrokerFull, BrokerLost, FutureSchema, LeaseLost
from hiper.streams.janitor import Janitor, PipelineState, StreamState, snapshot
from hiper.streams.keys import GROUPS, Keys
from hiper.streams.learner import LearnerLease, PolicyBoard, PublishedPolicy, Verdict, apply_ack
from hiper.streams.producers import Publisher, TaskQueue

__all__ = [
    "GROUPS",
    "MAX_ENTRY_BYTES",
    "SCHEMA_VERSION",
    "Batches",
    "Broker",
    "BrokerFull",
    "BrokerLost",
    "Consumer",
    "ControlRecord",
    "Counts",
    "DeadLetter",
    "DeadLetters",
    "Delivery",
    "FutureSchema",
    "Janitor",
    "Keys",
    "LearnerLease",
    "LeaseLost",
    "MemberResult",
    "PipelineState",
    "PolicyBoard",
    "PublishedPolicy",
    "Publisher",
    "RunControl",
    "RunPhase",
    "ScaleWish",
    "StreamState",
    "TaskQueue",
    "Verdict",
    "apply_ack",
    "snapshot",
]
