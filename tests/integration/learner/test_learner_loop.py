"""The learner's rows of the failure matrix (spec/streams.md, 9), on a real broker."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from learner_world import DEADLINE_S, RUN, Crash, Learner, World, new_world
from panels_made import made_panels

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.errors import RunStateError
from hiper.streams import Broker, LeaseLost
from hiper.vocabulary import Stream
from hiper.weights import verify
from services.learner import checkpoint, passes
from services.learner import intake as intake_module


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@dataclass(frozen=True)
class Expected:
    """What the run nothing happened to ended with."""

    parameters: list[torch.Tensor]
    metrics: list[dict]

    def equals(self, learner: Learner) -> bool:
        pairs = zip(self.parameters, learner.parameters(), strict=True)
        return all(torch.equal(one, other) for one, other in pairs)


_expected: dict[int, Expected] = {}


async def uninterrupted(tmp_path: Path, checkpoint_every: int = 1) -> Expected:
    """Run on a broker of its own; once for all tests."""
    if checkpoint_every not in _expected:
        directory = tmp_path / "uninterrupted"
        directory.mkdir()
        async with new_world(directory) as world, world.playing():
            learner = await world.learner(checkpoint_every=checkpoint_every)
            await learner.finish()
        _expected[checkpoint_every] = Expected(learner.parameters(), lines(directory / "metrics.jsonl"))
    return _expected[checkpoint_every]


async def test_run_to_its_end(world: World) -> None:
    async with world.playing():
        learner = await world.learner()
        await learner.finish()
    counts = (await world.state()).counts
    assert counts.published == counts.applied == 4 * 4 + 3 * 3
    assert json.loads((world.directory / "finished.json").read_text())["policy_version"] == 4
    assert [line["version"] for line in lines(world.directory / "metrics.jsonl")] == [1, 2, 3, 4]
    assert [line["version"] for line in lines(world.directory / "evals.jsonl")] == [0, 2, 4]
    policy = await learner.ports.board.read()
    assert policy is not None
    assert policy.version == 4
    assert verify(world.directory / "weights" / "v000004", policy.manifest_sha256).version == 4
    assert len(list(world.directory.glob("checkpoints/g*/v*"))) == 3


async def test_every_result_names_the_panels_it_belongs_to(world: World) -> None:
    async with world.playing():
        learner = await world.learner(iterations=1)
        await learner.finish()
    hashes = world.panels.hashes
    (line,) = lines(world.directory / "metrics.jsonl")
    assert (line["train_panel_sha256"], line["evaluation_panel_sha256"]) == (hashes["train"], hashes["evaluation"])
    assert {line["panel_sha256"] for line in lines(world.directory / "evals.jsonl")} == {hashes["evaluation"]}
    newest = max(world.directory.glob("checkpoints/*/v*/state.json"))
    assert json.loads(newest.read_text())["panels"] == hashes


async def test_a_run_does_not_go_on_with_other_tasks(world: World) -> None:
    first = await world.learner()
    await first.loop.recover()
    await first.ports.lease.release()
    world.panels = made_panels(train=6, evaluation=2)
    with pytest.raises(RunStateError, match=r"another evaluation panel .*: valid/2 is in the first only"):
        await (await world.learner()).loop.recover()


async def test_metrics_say_what_happened(world: World) -> None:
    async with world.playing():
        await (await world.learner()).finish()
    for line in lines(world.directory / "metrics.jsonl"):
        assert line["trajectories"] == line["expected"] == 4
        assert line["turns"] == line["rows"]
        phases = ("wait", "logprobs", "critic", "actor", "checkpoint", "publish")
        assert all(line[f"seconds_{phase}"] > 0 for phase in phases)
        assert {"policy_loss", "kl_reference", "entropy", "clip_fraction", "explained_variance_high"} <= line.keys()


async def test_a_policy_is_evaluated_before_it_is_replaced(world: World) -> None:
    """The evaluation of version 2 is held back: no task of version 3 is issued, and no weights published."""
    world.holds = lambda batch_id: batch_id == "eval-000002"
    async with world.playing():
        learner = await world.learner()
        await learner.loop.recover()
        stop = asyncio.Event()
        running = asyncio.create_task(learner.loop.run(stop))
        await world.plays("eval-000002")
        for _ in range(10):
            await asyncio.sleep(0.02)
            policy = await learner.ports.board.read()
            assert policy is not None
            assert policy.version == 2
        world.holds = lambda batch_id: False
        await asyncio.wait_for(running, DEADLINE_S)
    assert learner.loop.finished


async def test_tasks_run_ahead_by_the_staleness_and_no_further(world: World) -> None:
    learner = await world.learner(max_staleness=1)
    await learner.loop.recover()
    await learner.loop._issue()
    assert (await world.broker.counts()).tasks_issued == 2 * 4 + 3
    await learner.loop._issue()
    assert (await world.broker.counts()).tasks_issued == 2 * 4 + 3


async def test_stale_and_contradictory_trajectories_are_dropped_by_name(world: World) -> None:
    def change(trajectory: Trajectory) -> Trajectory:
        name = trajectory.task.trajectory_id
        if name == f"{RUN}/train-000002/0/0":
            trajectory.turns[1].policy_version_start = 1
        if name == f"{RUN}/train-000002/0/1":
            trajectory.turns[0].prompt_ids = b"\xff\xff\xff\x7f"
        return trajectory

    world.change = change
    async with world.playing():
        await (await world.learner()).finish()
    counts = (await world.state()).counts
    assert counts.dropped == {"stale": 1, "invalid": 1}
    assert counts.applied == counts.published - 2
    assert lines(world.directory / "metrics.jsonl")[2]["trajectories"] == 2


async def test_batch_nothing_is_left_of_is_passed_over(world: World) -> None:
    def change(trajectory: Trajectory) -> Trajectory:
        if trajectory.task.batch_id == "train-000001":
            trajectory.outcome.abandoned = "engine"
            del trajectory.turns[:]
        return trajectory

    world.change = change
    async with world.playing():
        await (await world.learner()).finish()
    state = await world.state()
    assert state.counts.dropped == {"abandoned": 4}
    assert state.counts.markers == 0
    assert [line["trajectories"] for line in lines(world.directory / "metrics.jsonl")] == [4, 0, 4, 4]


CRASHES = {
    "before_the_update": ("trainer", "update", "before"),
    "after_the_update": ("trainer", "update", "after"),
    "during_the_checkpoint_write": ("store", "write", "before"),
    "after_the_checkpoint_before_the_ack": ("intake", "acknowledge", "before"),
    "after_the_ack_before_the_publish": ("publisher", "publish", "before"),
    "after_the_publish_before_the_line": ("publisher", "publish", "after"),
}


def crash(learner: Learner, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Let `learner` die where `point` says, on the way to its third version."""
    owner, method, when = CRASHES[point]
    targets = {
        "trainer": learner.trainer,
        "store": learner.loop._store,
        "intake": learner.loop._intake,
        "publisher": learner.loop._publisher,
    }
    target, due = targets[owner], lambda: learner.loop._state.version >= (2 if owner == "trainer" else 3)
    if owner == "store":

        def torn(trainer, path):
            real_write(trainer, path)
            if due():
                raise Crash

        real_write = checkpoint.write_json
        monkeypatch.setattr(checkpoint, "write_json", torn)
        return
    real = getattr(target, method)

    def sync(*args):
        if due() and when == "before":
            raise Crash
        result = real(*args)
        if due():
            raise Crash
        return result

    async def asynchronous(*args):
        if due() and when == "before":
            raise Crash
        result = await real(*args)
        if due() and when == "after":
            raise Crash
        return result

    monkeypatch.setattr(target, method, sync if owner == "trainer" else asynchronous)


@pytest.mark.parametrize("checkpoint_every", [1, 3])
@pytest.mark.parametrize("point", CRASHES)
async def test_crash_and_restart_equal_the_uninterrupted_run(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, checkpoint_every: int
) -> None:
    expected = await uninterrupted(tmp_path, checkpoint_every)
    async with world.playing():
        with monkeypatch.context() as patched:
            first = await world.learner(checkpoint_every=checkpoint_every)
            crash(first, patched, point)
            with pytest.raises(Crash):
                await first.finish()
        second = await world.learner(checkpoint_every=checkpoint_every)
        await second.finish()
    assert expected.equals(second)
    state = await world.state()
    assert state.counts.applied == state.counts.published == 4 * 4 + 3 * 3, "each trajectory counts once"
    assert len(world.played) == len(set(world.played)), "nothing was played twice"
    assert [line["version"] for line in lines(world.directory / "evals.jsonl")] == [0, 2, 4]
    for name in ("version", "success", "policy_loss", "value_loss_low"):
        found = [line[name] for line in lines(world.directory / "metrics.jsonl")]
        assert found == [line[name] for line in expected.metrics]


async def test_zombie_is_fenced_and_its_checkpoint_never_wins(world: World) -> None:
    async with world.playing():
        zombie = await world.learner()
        await zombie.loop.recover()
        successor = await world.learner()  # the lease ran out: nobody renews it here
        await successor.finish()
        zombie.loop._state.version = 99
        await zombie.loop._checkpoint()
        with pytest.raises(LeaseLost):
            await zombie.loop._publish()
        third = await world.learner()
        await third.loop.recover()
    assert third.loop._state.version == 4
    assert not (world.directory / "weights" / "v000099").exists()


async def test_stall_names_what_is_missing(world: World) -> None:
    world.holds = lambda batch_id: batch_id.startswith("train")
    async with world.playing():
        learner = await world.learner(batch_timeout_s=0.5)
        with pytest.raises(RunStateError, match=r"batch train-000000 did not come within 0\.5 s at policy version 0"):
            await learner.finish()


async def test_stop_during_an_update_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = await uninterrupted(tmp_path)
    async with world.playing():
        first = await world.learner()
        stop, loop, real = asyncio.Event(), asyncio.get_running_loop(), passes.pack

        def pack(rows, device):
            if first.loop._state.version == 2 and not stop.is_set():
                loop.call_soon_threadsafe(stop.set)
                assert first.trainer._interrupted.wait(DEADLINE_S)
            return real(rows, device)

        monkeypatch.setattr(passes, "pack", pack)
        await first.loop.recover()
        await asyncio.wait_for(first.loop.run(stop), 30)
        assert not first.loop.finished
        second = await world.learner()
        await second.finish()
    assert expected.equals(second)


async def test_entries_that_wait_are_neither_redelivered_nor_acknowledged(world: World) -> None:
    """Longer than `claim_idle_s`, for the rest of their batch and for a checkpoint that comes every third version."""
    settings = world.broker.settings.model_copy(update={"claim_idle_s": 0.2})
    broker = await Broker.connect(settings, RUN, "learner")
    await broker.create_run()
    world.holds = lambda batch_id: batch_id == "train-000001"
    stop = asyncio.Event()
    async with world.playing():
        learner = await world.learner(broker=broker, checkpoint_every=3)
        await learner.loop.recover()
        running = asyncio.create_task(learner.loop.run(stop))
        await world.plays("train-000001")
        await asyncio.sleep(5 * settings.claim_idle_s)
        key = broker.keys.stream(Stream.ADVANTAGES)
        pending = await broker.client.xpending_range(key, "learner", "-", "+", 100)
        assert len(pending) == 4, "train-000000 is applied, and no checkpoint holds it yet"
        assert {entry["times_delivered"] for entry in pending} == {1}
        assert (await broker.counts()).applied == 3
        world.holds = lambda batch_id: False
        await running
    assert learner.loop.finished
    await broker.close()


async def test_acknowledgement_cut_short_is_completed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only part of a batch was acknowledged before the crash: the rest is recognised without it."""
    real = intake_module.apply_ack

    async def half(broker, lease, verdicts):
        if len(verdicts) == 4:
            await real(broker, lease, dict(list(verdicts.items())[:2]))
            raise Crash
        return await real(broker, lease, verdicts)

    async with world.playing():
        with monkeypatch.context() as patched:
            patched.setattr(intake_module, "apply_ack", half)
            with pytest.raises(Crash):
                await (await world.learner()).finish()
        await (await world.learner()).finish()
    state = await world.state()
    assert state.counts.applied == state.counts.published
