"""The protocol against a model: any order of steps, repeats, claims and kills keeps every trajectory in exactly one
place.

The model says where each trajectory must be after each step; the server is asked what it measures. Deliveries are kept
after use and used again, so that every step is also taken by those who have lost the right to it.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from stream_world import ServerWorld, World, new_world, task, trajectory

from hiper._proto.trajectory.v1.trajectory_pb2 import Task
from hiper.streams import (
    GROUPS,
    Batches,
    Consumer,
    DeadLetters,
    Delivery,
    LearnerLease,
    Publisher,
    Verdict,
    snapshot,
)
from hiper.streams.learner import apply_ack
from hiper.vocabulary import DropReason, Stream

T = TypeVar("T")
BATCHES = ("b0", "b1", "b2")
SIZE = 3
SAMPLES = st.tuples(st.sampled_from(BATCHES), st.integers(0, SIZE - 1))
NAMES = st.sampled_from(["a", "b"])
VERDICTS: list[Verdict] = ["applied", DropReason.STALE, DropReason.INVALID]


class Protocol(RuleBasedStateMachine):
    """One run on a server that is shared by all examples. `place` maps trajectory ids to where they must be."""

    runner: asyncio.Runner
    world: World
    runs = 0

    def __init__(self) -> None:
        super().__init__()
        self.place: dict[str, str] = {}
        self.closed: set[str] = set()
        self.members: dict[str, set[str]] = {}
        self.markers = 0
        self.seen: dict[Stream, dict[str, Delivery]] = {stream: {} for stream in GROUPS}

    def wait(self, step: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(step)

    @initialize()
    def begin(self) -> None:
        type(self).runs += 1
        self.broker = self.wait(self.world.connect("model", run=f"run-{type(self).runs}"))
        self.wait(self.broker.create_run())
        self.batches = Batches(self.broker)
        self.lease = LearnerLease(self.broker, 60.0)
        self.wait(self.lease.acquire())

    def teardown(self) -> None:
        self.wait(self.broker.close())

    @rule(sample=SAMPLES, abandoned=st.booleans())
    def publish(self, sample: tuple[str, int], abandoned: bool) -> None:
        played = trajectory(self.task(sample), abandoned="engine" if abandoned else "")
        new = self.wait(Publisher(self.broker).publish(played))
        assert new == (played.task.trajectory_id not in self.place)
        if new:
            self.place[played.task.trajectory_id] = "raw"

    @rule(stream=st.sampled_from([Stream.RAW, Stream.SCORED, Stream.ADVANTAGES]), name=NAMES, limit=st.integers(1, 4))
    def read(self, stream: Stream, name: str, limit: int) -> None:
        """A consumer that has just started: its own entries first, then new ones."""
        consumer = Consumer(self.broker, stream, GROUPS[stream], name)
        for _ in range(2):
            for delivery in self.wait(consumer.receive(limit)):
                self.seen[stream][delivery.entry_id] = delivery

    @rule(stream=st.sampled_from([Stream.RAW, Stream.SCORED]), name=NAMES)
    def claim_everything(self, stream: Stream, name: str) -> None:
        words = (self.broker.keys.stream(stream), GROUPS[stream], name, 0, "0-0")
        self.wait(self.broker.command("XAUTOCLAIM", *words))

    @precondition(lambda self: self.seen[Stream.RAW])
    @rule(data=st.data())
    def score(self, data: st.DataObject) -> None:
        delivery = data.draw(st.sampled_from(list(self.seen[Stream.RAW].values())))
        played = delivery.trajectory()
        name, batch = delivery.trajectory_id, played.task.batch_id
        expected = self.is_current(delivery)
        result = self.wait(self.batches.add_member(delivery, played))
        if not expected:
            assert result == "fenced"
            return
        if batch in self.closed:
            assert result == "late"
            self.place[name] = "dropped"
            return
        self.place[name] = "dropped" if played.outcome.abandoned else "waiting"
        self.members.setdefault(batch, set()).add(name)
        assert result == ("completed" if len(self.members[batch]) == SIZE else "added")
        if result == "completed":
            self.closed.add(batch)

    @rule(batch=st.sampled_from(BATCHES))
    def expire(self, batch: str) -> None:
        is_open = batch in self.members and batch not in self.closed
        if is_open:
            self.wait(self.broker.command("ZADD", self.broker.keys.due, "XX", 1, batch))
        assert self.wait(self.batches.expire_due()) == is_open
        if is_open:
            self.closed.add(batch)

    @precondition(lambda self: self.seen[Stream.SCORED])
    @rule(data=st.data())
    def hand_off(self, data: st.DataObject) -> None:
        delivery = data.draw(st.sampled_from(list(self.seen[Stream.SCORED].values())))
        batch = delivery.batch_id
        members = self.wait(self.batches.members(batch))
        expected = self.is_current(delivery)
        assert self.wait(self.batches.hand_off(delivery, delivery.batch_ready(), members)) == expected
        if expected:
            assert {m.task.trajectory_id for m in members} == {
                n for n in self.members[batch] if self.place[n] == "waiting"
            }
            self.markers += not members
            self.place |= {m.task.trajectory_id: "advantages" for m in members}

    @precondition(lambda self: self.seen[Stream.ADVANTAGES])
    @rule(data=st.data(), verdict=st.sampled_from(VERDICTS))
    def apply(self, data: st.DataObject, verdict: Verdict) -> None:
        delivery = data.draw(st.sampled_from(list(self.seen[Stream.ADVANTAGES].values())))
        is_marker, expected = not delivery.members, self.is_current(delivery)
        verdicts: dict[str, Verdict] = {delivery.entry_id: "empty" if is_marker else verdict}
        assert self.wait(apply_ack(self.broker, self.lease, verdicts)) == expected
        if expected and is_marker:
            self.markers -= 1
        elif expected:
            self.place[delivery.trajectory_id] = "applied" if verdict == "applied" else "dropped"

    @rule(data=st.data(), stream=st.sampled_from([Stream.RAW, Stream.SCORED, Stream.ADVANTAGES]))
    def bury(self, data: st.DataObject, stream: Stream) -> None:
        """Send any delivery to the dead letters, then replay or purge it."""
        if not self.seen[stream]:
            return
        delivery = data.draw(st.sampled_from(list(self.seen[stream].values())))
        expected = self.is_current(delivery)
        consumer = Consumer(self.broker, stream, GROUPS[stream], "a")
        assert self.wait(consumer.dead_letter(delivery, "buried")) == expected
        if not expected:
            return
        letters = DeadLetters(self.broker)
        (letter,) = self.wait(letters.list())
        assert self.wait(snapshot(self.broker)).gap == 0
        if data.draw(st.booleans(), "replay"):
            assert self.wait(letters.replay(letter.entry_id))
            return
        assert self.wait(letters.purge(letter.entry_id))
        if stream is Stream.SCORED:
            waiting = [name for name in self.members[delivery.batch_id] if self.place[name] == "waiting"]
            self.place |= dict.fromkeys(waiting, "dropped")
        elif delivery.trajectory_id:
            self.place[delivery.trajectory_id] = "dropped"
        else:
            self.markers -= 1

    @rule(chance=st.integers(0, 4))
    def kill_the_server(self, chance: int) -> None:
        if chance == 0 and isinstance(self.world, ServerWorld):
            self.wait(self.world.restart())

    @invariant()
    def everything_is_in_its_place(self) -> None:
        if not hasattr(self, "broker"):
            return
        measured = self.wait(snapshot(self.broker))
        assert measured.gap == 0
        places = Counter(self.place.values())
        assert measured.counts.published == places.total()
        assert measured.streams[Stream.RAW].length == places["raw"]
        assert measured.waiting_members == places["waiting"]
        assert measured.streams[Stream.ADVANTAGES].length == places["advantages"] + self.markers
        assert measured.counts.applied == places["applied"]
        assert sum(measured.counts.dropped.values()) == places["dropped"]

    def is_current(self, delivery: Delivery) -> bool:
        """Whether the entry is in a stream and delivered: who acts on it now acts first."""
        for stream in GROUPS:
            if self.seen[stream].get(delivery.entry_id) is delivery:
                key, entry = self.broker.keys.stream(stream), delivery.entry_id
                return bool(self.wait(self.broker.client.xpending_range(key, GROUPS[stream], entry, entry, 1)))
        raise AssertionError("a delivery from nowhere")

    @staticmethod
    def task(sample: tuple[str, int]) -> Task:
        return task(sample[1], batch=sample[0], size=SIZE)


@pytest.mark.slow
def test_every_trajectory_is_in_exactly_one_place(kind: str, tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        entered = new_world(kind, tmp_path, block_ms=1, max_deliveries=10_000)
        world = runner.run(entered.__aenter__())
        try:
            machine = type("OnThisServer", (Protocol,), {"runner": runner, "world": world})
            limits = settings(
                max_examples=15, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
            )
            run_state_machine_as_test(machine, settings=limits)
        finally:
            runner.run(entered.__aexit__(None, None, None))
