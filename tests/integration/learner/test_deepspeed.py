"""DeepSpeed over two processes against the torch backend in one: losses, weights, resume, and from one to the other.

Tolerance: the two differ by the order of sums. Relative 1e-4 on every metric of every update, and 1e-4 on weights.
"""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hiper.config.sections import LearnerSettings
from services.learner.trainer import Trainer

if find_spec("deepspeed") is None:
    pytest.skip("deepspeed is not installed: pip install -e '.[deepspeed]'", allow_module_level=True)

import deepspeed_worker as worker
from learner_processes import processes
from learner_world import World

pytestmark = pytest.mark.slow

UPDATES = 20
OPTIMISER = {"lr": 1e-3, "epochs": 1, "minibatch_rows": 5}
SETTINGS = {
    "actor": OPTIMISER,
    "critic": OPTIMISER,
    "dtype": "float32",
    "device": "cpu",
    "micro_tokens": 40,
    "value_clip": 0.5,
    "max_staleness": 1,
    "batch_timeout_s": 30.0,
}
OF_THE_MACHINE = ("seconds_", "tokens_per_second", "memory_")
"""Metrics that two runs do not share."""


def torch_run(
    directory: Path, versions: tuple[int, int], restore: Path | None = None, **changes: Any
) -> dict[str, Any]:
    settings = LearnerSettings.model_validate({**SETTINGS, **changes})
    trainer = Trainer(worker.models(settings), settings, 3)
    torch.set_num_threads(1)
    task = {"versions": versions, "weights": directory / "torch.safetensors", "restore": restore}
    return worker.train(trainer, task)


def deepspeed_run(directory: Path, name: str, versions: tuple[int, int], **task: Any) -> dict[str, Any]:
    """Two processes under torchrun; `task` may hold `restore`, `save` and changes of the settings."""
    paths = {key: directory / f"{name}.{key}" for key in ("task", "outcome", "weights")}
    settings = {**SETTINGS, **task.pop("settings")}
    written = {**task, "versions": versions, "settings": settings, **paths}
    paths["task"].write_text(json.dumps(written, default=str))
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run(
        [*launcher, worker.__file__, str(paths["task"])],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(paths["outcome"].read_text())


def same_course(found: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    for version, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            if not name.startswith(OF_THE_MACHINE):
                assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-5), (version, name)


def same_weights(found: Path, expected: Path) -> None:
    ours, theirs = load_file(found), load_file(expected)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stage", [2, 3])
def test_twenty_updates_with_a_restart_in_between_are_those_of_one_process(tmp_path: Path, stage: int) -> None:
    expected = torch_run(tmp_path, (0, UPDATES))
    how = {"backend": {"name": "deepspeed", "stage": stage, "collective_timeout_s": 200.0}}
    half, saved = UPDATES // 2, tmp_path / "checkpoint"
    before = deepspeed_run(tmp_path, "before", (0, half), save=saved, settings=how)
    after = deepspeed_run(tmp_path, "after", (half, UPDATES), restore=saved, settings=how)
    same_course([*before["lines"], *after["lines"]], expected["lines"])
    same_weights(tmp_path / "after.weights", tmp_path / "torch.safetensors")
    np.testing.assert_allclose(after["values"], expected["values"], atol=1e-3)
    assert after["critic_version"] == UPDATES

    alone = torch_run(tmp_path, (half, UPDATES), restore=saved)
    same_course(alone["lines"], expected["lines"][half:])


async def test_a_run_led_by_the_first_of_two_processes_goes_to_its_end(world: World) -> None:
    """Broker, lease, checkpoints and weights are the first one's; both are asked to stop, and begin again."""
    world.tree["env"] = {"synthetic_train": 12, "synthetic_valid": 4}
    world.tree["evaluation"]["split"] = "valid"
    world.tree["learner"]["backend"] = {"name": "deepspeed", "stage": 3, "collective_timeout_s": 120.0}
    launcher = ["torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    async with world.playing():
        with processes(world) as learner:
            world.holds = lambda batch_id: batch_id == "train-000002"
            process = learner(launcher, DS_ACCELERATOR="cpu", OMP_NUM_THREADS="1")
            await world.plays("train-000002", within_s=180.0)
            process.send(signal.SIGTERM)
            await process.ends(within_s=60.0)
            assert not (world.directory / "finished.json").exists()
            world.holds = lambda batch_id: False
            process = learner(launcher, DS_ACCELERATOR="cpu", OMP_NUM_THREADS="1")
            assert await process.ends(within_s=240.0) == 0, process.log()[-3000:]
    assert json.loads((world.directory / "finished.json").read_text())["policy_version"] == 4
    lines = [json.loads(line) for line in (world.directory / "metrics.jsonl").read_text().splitlines()]
    assert [line["version"] for line in lines] == [1, 2, 3, 4]
    counts = (await world.state()).counts
    assert counts.applied == counts.published
    assert "checkpoint restored" in process.log()
