"""DeepSpeed over two processes against the torch backend in one: losses, weights, resume, and from one to the other.

Tolerance: the two differ by the order of sums. Relative 1e-4 on every metric of every update, and 1e-4 on weights.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
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

pytestmark = pytest.mark.slow

UPDATES = 20
HALF = UPDATES // 2
STAGES = (2, 3)
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


ADAPTED = {"lora": {"rank": 2, "alpha": 4.0, "targets": ["q_proj", "down_proj"]}, "gradient_checkpointing": True}


@dataclass(frozen=True)
class Course:
    """A run of updates, and where what it leaves behind is."""

    directory: Path
    name: str
    versions: tuple[int, int]
    restore: Path | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Of the settings."""

    @property
    def checkpoint(self) -> Path:
        return self.directory / f"{self.name}.checkpoint"

    @property
    def weights(self) -> Path:
        return self.directory / f"{self.name}.weights"

    @property
    def outcome(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._outcome.read_text())
        return found

    @property
    def _outcome(self) -> Path:
        return self.directory / f"{self.name}.outcome"

    def task(self, **changes: Any) -> dict[str, Any]:
        files = {"restore": self.restore, "save": self.checkpoint, "weights": self.weights, "outcome": self._outcome}
        settings = {**SETTINGS, **self.changes, **changes}
        return {
            "versions": self.versions,
            "settings": settings,
            **{key: path and str(path) for key, path in files.items()},
        }

    def alone(self) -> "Course":
        """By the torch backend, here."""
        task = self.task()
        settings = LearnerSettings.model_validate(task["settings"])
        self._outcome.write_text(json.dumps(worker.train(Trainer(worker.models(settings), settings, 3), task)))
        return self


def by_two(*courses: tuple[int, Course]) -> None:
    """By DeepSpeed, each at its stage, one after the other in one start of two processes under torchrun."""
    backend = {"name": "deepspeed", "collective_timeout_s": 200.0}
    tasks = [course.task(backend={**backend, "stage": stage}) for stage, course in courses]
    file = courses[0][1].directory / "tasks.json"
    file.write_text(json.dumps(tasks))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    command = [*launcher, worker.__file__, str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@dataclass(frozen=True)
class Courses:
    """What is compared: of one process, and of two at every stage."""

    whole: Course
    first_half: Course
    adapted: Course
    before: dict[int, Course]
    after: dict[int, Course]
    taken_over: dict[int, Course]
    """From the checkpoint of one process."""
    adapted_by_two: dict[int, Course]


@pytest.fixture(scope="module")
def courses(tmp_path_factory: pytest.TempPathFactory) -> Courses:
    torch.set_num_threads(1)
    directory = tmp_path_factory.mktemp("courses")
    made = partial(Course, directory)
    whole = made("whole", (0, UPDATES)).alone()
    half = made("half", (0, HALF)).alone()
    adapted = made("adapted", (0, 3), changes=ADAPTED).alone()
    before = {stage: made(f"before-{stage}", (0, HALF)) for stage in STAGES}
    adapted_by_two = {stage: made(f"adapted-{stage}", (0, 3), changes=ADAPTED) for stage in STAGES}
    by_two(*before.items(), *adapted_by_two.items())
    after = {stage: made(f"after-{stage}", (HALF, UPDATES), before[stage].checkpoint) for stage in STAGES}
    taken_over = {stage: made(f"taken-over-{stage}", (HALF, HALF + 3), half.checkpoint) for stage in STAGES}
    by_two(*after.items(), *taken_over.items())
    return Courses(whole, half, adapted, before, after, taken_over, adapted_by_two)


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


each_stage = pytest.mark.parametrize("stage", STAGES)


@each_stage
def test_twenty_updates_with_a_restart_in_between_are_those_of_one_process(courses: Courses, stage: int) -> None:
    before, after, expected = courses.before[stage].outcome, courses.after[stage].outcome, courses.whole.outcome
    same_course([*before["lines"], *after["lines"]], expected["lines"])
    same_weights(courses.after[stage].weights, courses.whole.weights)
    np.testing.assert_allclose(after["values"], expected["values"], atol=1e-3)
    assert after["critic_version"] == UPDATES


@each_stage
def test_one_process_goes_on_where_two_stopped(courses: Courses, stage: int, tmp_path: Path) -> None:
    alone = Course(tmp_path, "alone", (HALF, UPDATES), courses.before[stage].checkpoint).alone()
    same_course(alone.outcome["lines"], courses.whole.outcome["lines"][HALF:])


@each_stage
def test_two_processes_go_on_where_one_stopped(courses: Courses, stage: int) -> None:
    same_course(courses.taken_over[stage].outcome["lines"], courses.whole.outcome["lines"][HALF : HALF + 3])


@each_stage
def test_adapters_and_recomputed_activations_train_as_in_one_process(courses: Courses, stage: int) -> None:
    same_course(courses.adapted_by_two[stage].outcome["lines"], courses.adapted.outcome["lines"])
    same_weights(courses.adapted_by_two[stage].weights, courses.adapted.weights)
