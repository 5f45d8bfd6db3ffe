"""Figures of a batch, and the alarms they raise: a policy that collapses is noticed, a healthy one is left alone."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hand_made import Made, make_task, make_trajectory
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from hiper._proto.common.v1.types_pb2 import LevelValues
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.advantages.hae import HaeConfig, estimate_hae
from hiper.config.sections import DetectorSettings
from hiper.metrics import render
from hiper.vocabulary import Level
from services.hae.detectors import Alarm, Detectors, Watch
from services.hae.estimate import estimate
from services.hae.health import BatchHealth, explained_variance, measure
from services.hae.values import CriticReading

LIMITS = DetectorSettings(patience=3)


PERFECT = dict.fromkeys(Level, 1.0)


def health_of(trajectories: Sequence[Trajectory], scale: Mapping[Level, float] = PERFECT) -> BatchHealth:
    """Each head says the return still to come, times its `scale`."""
    values = []
    for trajectory in trajectories:
        rewards = [turn.reward for turn in trajectory.turns]
        for at in range(len(rewards)):
            values.append(LevelValues(**{level.value: scale[level] * sum(rewards[at:]) for level in Level}))
    reading = CriticReading(values, 1)
    return measure(trajectories, *estimate(trajectories, reading, lambda batch: estimate_hae(batch, HaeConfig())))


def rewarded(turns: Sequence[Made], *rewards: float, sample: int = 0, group: int = 0) -> Trajectory:
    task = make_task(sample, size=9)
    task.group = group
    made = make_trajectory(turns, task=task)
    for turn, reward in zip(made.turns, rewards or [0.0] * len(turns), strict=True):
        turn.reward = reward
    return made


def test_explained_variance_counts_trained_turns_only() -> None:
    targets = np.array([1.0, 3.0, np.nan, 5.0])
    assert explained_variance(targets, targets) == 1
    assert explained_variance(np.array([0.0, 0.0, 1e9, 0.0]), targets) == 0
    assert explained_variance(np.array([2.0, 2.0, 2.0, 2.0]), np.full(4, 2.0)) is None
    assert explained_variance(targets, np.full(4, np.nan)) is None


def test_targets_that_differ_by_rounding_are_constant() -> None:
    values = np.array([3.3, -7.1, 0.2, 5.9])
    targets = (0.1 - values) + values
    assert targets.var() > 0
    assert explained_variance(values, targets) is None


def test_figures_of_a_batch() -> None:
    first = rewarded([Made(), Made(switch=True), Made(consistent=False), Made(valid=False)], sample=1)
    second = rewarded([Made(switch=True), Made(), Made()], sample=2)
    second.turns[2].stop_reason = "length"
    found = health_of([first, second])
    assert found.switch_rate == 1 / 5, "turn 0 is no decision"
    assert found.switches_per_episode == 0.5
    assert found.segment_turns == 7 / 3
    assert found.keep_consistency == 3 / 4, "nor can it be inconsistent"
    assert found.valid_rate == 6 / 7
    assert found.clipped_rate == 1 / 7


def test_what_cannot_be_known_is_not_zero() -> None:
    single = health_of([rewarded([Made()])])
    assert (single.switch_rate, single.keep_consistency, single.zero_variance_groups) == (None, None, None)
    assert single.explained_variance == {}
    flat = rewarded([Made(), Made()])
    for turn in flat.turns:
        turn.ClearField("switch_span")
    assert health_of([flat]).switch_rate is None, "a policy without switch blocks never decides"
    nothing_to_keep = rewarded([Made(), Made()])
    nothing_to_keep.turns[0].subgoal = ""
    assert health_of([nothing_to_keep]).keep_consistency is None


def test_groups_whose_samples_all_return_the_same_are_counted() -> None:
    batch = [
        *(rewarded([Made(), Made()], 0.1, 0.2, sample=n, group=0) for n in range(2)),
        rewarded([Made(), Made()], 0.0, 0.3, sample=2, group=1),
        rewarded([Made()], 1.0, sample=3, group=1),
        rewarded([Made()], 1.0, sample=4, group=2),
    ]
    assert health_of(batch).zero_variance_groups == 0.5, "a group of one has no variance to lack"


@pytest.mark.parametrize("level", Level)
def test_a_critic_is_judged_head_by_head(level: Level) -> None:
    batch = [rewarded([Made(switch=True), Made(), Made(switch=True)], 0.5, 1.0, 2.0 * n, sample=n) for n in range(4)]
    assert health_of(batch).explained_variance == pytest.approx(PERFECT)
    found = health_of(batch, PERFECT | {level: -5.0}).explained_variance
    assert found[level] < -1
    assert level is Level.HIGH or found[Level.HIGH] == pytest.approx(1)


@given(st.lists(st.sampled_from([True, False, None]), max_size=60), st.integers(1, 5))
def test_an_alarm_begins_and_ends_only_after_a_streak(said: list[bool | None], patience: int) -> None:
    watch, known = Watch(patience), []
    for past in said:
        before = watch.active
        changed = watch.see(past)
        assert changed == (watch.active != before)
        known += [] if past is None else [past]
        if changed:
            assert known[-patience:] == [watch.active] * patience
        elif len(known) >= patience and past is not None:
            assert known[-patience:] != [not watch.active] * patience, "a streak against it would have changed it"


def play(draw: random.Random, switch: float, *, valid: float = 0.97, consistent: float = 0.9, clipped: float = 0.02):
    """A batch of 16 episodes in groups of two, wins here and there, by a policy of these probabilities."""
    batch = []
    for sample in range(16):
        turns = [
            Made(switch=draw.random() < switch, valid=draw.random() < valid, consistent=draw.random() < consistent)
            for _ in range(draw.randint(4, 20))
        ]
        made = rewarded(turns, *(draw.choice([0.0, -0.1]) for _ in turns), sample=sample, group=sample // 2)
        made.turns[-1].reward += 10.0 * (draw.random() < 0.5)
        for turn in made.turns:
            turn.stop_reason = "length" if draw.random() < clipped else "stop"
        batch.append(made)
    return batch


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_policy_never_raises_an_alarm(seed: int) -> None:
    draw, detectors = random.Random(seed), Detectors(DetectorSettings())
    with capture_logs() as lines:
        for _ in range(60):
            critic = {level: draw.uniform(0.5, 1.2) for level in Level}
            detectors.see(health_of(play(draw, draw.uniform(0.1, 0.6)), critic))
            assert not detectors.active
    assert lines == []


DRIFTS = {
    Alarm.ALWAYS_KEEP: lambda share: {"switch": 0.4 * (1 - share)},
    Alarm.ALWAYS_SWITCH: lambda share: {"switch": 0.4 + 0.6 * share},
    Alarm.FORMAT: lambda share: {"switch": 0.4, "valid": 0.97 - 0.9 * share},
    Alarm.KEEP_DRIFT: lambda share: {"switch": 0.4, "consistent": 0.9 - 0.9 * share},
    Alarm.CLIPPING: lambda share: {"switch": 0.4, "clipped": 0.02 + 0.9 * share},
}


@pytest.mark.parametrize("alarm", DRIFTS)
def test_a_drifting_policy_is_noticed_within_the_patience_told_once_and_told_when_it_recovers(alarm: Alarm) -> None:
    draw, detectors = random.Random(1), Detectors(LIMITS)
    with capture_logs() as lines:
        for step in range(10):
            detectors.see(health_of(play(draw, **DRIFTS[alarm](step / 10))))
        for _ in range(LIMITS.patience):
            detectors.see(health_of(play(draw, **DRIFTS[alarm](1.0))))
        assert detectors.active == {alarm}
        assert f'hiper_hae_alarm{{kind="{alarm}"}} 1.0' in render().decode()
        for _ in range(LIMITS.patience):
            detectors.see(health_of(play(draw, **DRIFTS[alarm](0.0))))
    assert detectors.active == frozenset()
    assert f'hiper_hae_alarm{{kind="{alarm}"}} 0.0' in render().decode()
    assert [line["alarm"] for line in lines] == [alarm, alarm]
    begins, ends = lines
    assert {line["log_level"] for line in lines} == {"warning"}
    assert begins["event"].startswith(f"alarm {alarm}: ")
    assert ends["event"] == f"alarm {alarm} is over"
    assert begins["figure"] is not None


@pytest.mark.parametrize("level", Level)
def test_a_head_worse_than_a_constant_is_noticed(level: Level) -> None:
    draw, detectors = random.Random(2), Detectors(LIMITS)
    for _ in range(LIMITS.patience):
        assert not detectors.active
        detectors.see(health_of(play(draw, 0.4), PERFECT | {level: -5.0}))
    assert f"critic_{level}" in detectors.active


def test_groups_without_variance_are_noticed() -> None:
    batch = [rewarded([Made(switch=True), Made()], sample=n, group=n // 2) for n in range(4)]
    detectors = Detectors(LIMITS)
    for _ in range(LIMITS.patience):
        detectors.see(health_of(batch))
    assert Alarm.ZERO_VARIANCE in detectors.active
