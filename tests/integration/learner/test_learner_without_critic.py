"""A run whose estimator needs no critic: it trains the actor to the end and keeps nothing else."""

import json

import pytest
import torch
from learner_world import World

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from services.learner import build


def without_values(trajectory: Trajectory) -> Trajectory:
    """As a critic-free estimator hands it on."""
    for turn in trajectory.turns:
        turn.ClearField("values")
        turn.ClearField("returns")
    return trajectory


async def test_a_run_without_a_critic_loads_none_and_goes_to_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    load = build.load_causal_lm

    def counted(settings, path, dtype, device):
        loaded.append(path)
        return load(settings, path, dtype, device)

    monkeypatch.setattr(build, "load_causal_lm", counted)
    world.tree["hae"] = {"estimator": {"name": "rloo"}}
    world.change = without_values
    async with world.playing():
        learner = await world.learner(iterations=2, kl_coef=0.0)
        before = [one.clone() for one in learner.parameters()]
        await learner.finish()
    assert len(loaded) == 1, "the actor"
    assert not all(map(torch.equal, before, learner.parameters()))
    lines = [json.loads(line) for line in (world.directory / "metrics.jsonl").read_text().splitlines()]
    assert [line["version"] for line in lines] == [1, 2]
    assert all("actor_grad_norm" in line and "critic_grad_norm" not in line for line in lines)
    assert not list(world.directory.glob("checkpoints/**/*critic*"))
