"""Pause, stop and evaluation on request, on a real broker: between iterations, nothing left outside a checkpoint."""

import asyncio
import json
import time
from pathlib import Path

import torch
from learner_world import DEADLINE_S, World, eventually

from hiper.report import RunFiles
from hiper.streams import RunControl
from hiper.vocabulary import Stream


async def test_a_paused_run_issues_nothing_holds_nothing_and_goes_on(world: World) -> None:
    control = RunControl(world.broker)
    await control.pause(True)
    async with world.playing():
        learner = await world.learner(checkpoint_every=4)
        await learner.loop.recover()
        running = asyncio.create_task(learner.loop.run(asyncio.Event()))
        await is_paused(control)
        assert (await world.state()).counts.tasks_issued == 0
        await control.pause(False)
        await asyncio.wait_for(running, DEADLINE_S)
    assert (await control.read()).phase == "running"
    assert (await world.state()).counts.applied == 4 * 4 + 3 * 3


async def test_a_pause_in_the_middle_leaves_nothing_outside_a_checkpoint(world: World) -> None:
    control = RunControl(world.broker)
    async with world.playing():
        learner = await world.learner(checkpoint_every=4, max_staleness=0)
        await learner.loop.recover()
        running = asyncio.create_task(learner.loop.run(asyncio.Event()))
        await world.plays("train-000000")
        await control.pause(True)
        await is_paused(control)
        state = await world.state()
        assert state.streams[Stream.ADVANTAGES].length == 0, "a checkpoint holds everything, so all is acknowledged"
        await control.pause(False)
        await asyncio.wait_for(running, DEADLINE_S)


async def test_a_stopped_run_ends_whole_and_stays_stopped(world: World) -> None:
    control, held = RunControl(world.broker), {"train-000001"}
    world.holds = held.__contains__
    async with world.playing():
        learner = await world.learner(checkpoint_every=4)
        await learner.loop.recover()
        running = asyncio.create_task(learner.loop.run(asyncio.Event()))
        await world.plays("train-000001")
        await control.ask_stop()
        held.clear()
        await asyncio.wait_for(running, DEADLINE_S)
        version = json.loads((world.directory / "finished.json").read_text())["policy_version"]
        assert version == 2
        assert RunFiles(world.directory).stopped
        record = await control.read()
        assert (record.phase, record.policy_version, record.stop_asked) == ("stopped", version, False)
        parameters = [parameter.clone() for parameter in learner.parameters()]

        again = await world.learner(checkpoint_every=4)
        await again.finish()
        assert all(torch.equal(one, other) for one, other in zip(parameters, again.parameters(), strict=True))
        assert not (await control.read()).stop_asked

        (world.directory / "finished.json").unlink()  # what `hiper up` does
        onward = await world.learner(checkpoint_every=4)
        await onward.finish()
    assert json.loads((world.directory / "finished.json").read_text()) == {"policy_version": 4}
    assert (await world.state()).in_flight == 0


async def test_an_evaluation_on_request_is_made_once(world: World) -> None:
    control, held = RunControl(world.broker), {"train-000000"}
    world.holds = held.__contains__
    async with world.playing():
        learner = await world.learner()
        await learner.loop.recover()
        running = asyncio.create_task(learner.loop.run(asyncio.Event()))
        await eventually(lambda: evaluated(world.directory) == [0])
        await control.ask_evaluation()
        held.clear()
        await asyncio.wait_for(running, DEADLINE_S)
    assert evaluated(world.directory) == [0, 1, 2, 4]
    assert not (await control.read()).evaluation_asked


async def is_paused(control: RunControl) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while (await control.read()).phase != "paused":
        assert time.monotonic() < give_up, "the learner did not pause"
        await asyncio.sleep(0.02)


def evaluated(directory: Path) -> list[int]:
    return [line["version"] for line in RunFiles(directory).evaluations()]
