"""The learner as a process of its own: killed, asked to stop, started again, and finished."""

import json
import signal
from pathlib import Path

import pytest
from learner_processes import processes
from learner_world import World, eventually, new_world
from safetensors.torch import load_file


def versions(world: World) -> list[int]:
    path = world.directory / "metrics.jsonl"
    return [json.loads(line)["version"] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.slow
async def test_killed_and_stopped_and_started_again_it_ends_where_it_would_have(world: World, tmp_path: Path) -> None:
    reference = tmp_path / "reference"
    reference.mkdir()
    async with new_world(reference) as other, other.playing():
        await (await other.learner()).finish()

    world.tree["env"] = {"synthetic_train": 12, "synthetic_valid": 4}
    world.tree["evaluation"]["split"] = "valid"
    async with world.playing():
        with processes(world) as learner:
            process = learner()
            await eventually(lambda: len(versions(world)) >= 1)
            process.send(signal.SIGKILL)
            assert await process.ends() == -signal.SIGKILL

            world.holds = lambda batch_id: batch_id == "train-000003"
            process = learner()
            await eventually(lambda: versions(world) == [1, 2, 3])
            process.send(signal.SIGTERM)
            assert await process.ends() == 0, process.log()
            assert not (world.directory / "finished.json").exists()

            world.holds = lambda batch_id: False
            process = learner()
            assert await process.ends() == 0, process.log()

    assert "Traceback" not in process.log()
    assert json.loads((world.directory / "finished.json").read_text()) == {"policy_version": 4}
    assert versions(world) == [1, 2, 3, 4]
    counts = (await world.state()).counts
    assert counts.applied == counts.published
    last = "weights/v000004/model.safetensors"
    expected, found = load_file(reference / last), load_file(world.directory / last)
    assert expected.keys() == found.keys()
    assert all((expected[name] == found[name]).all() for name in expected)


@pytest.mark.slow
async def test_a_model_that_is_not_there_is_one_line_and_an_exit_code(world: World) -> None:
    world.tree["model"]["path"] = str(world.directory / "nowhere")
    with processes(world) as learner:
        process = learner()
        assert await process.ends() == 3
    assert "cannot load the model" in process.log()
    assert "Traceback" not in process.log()
