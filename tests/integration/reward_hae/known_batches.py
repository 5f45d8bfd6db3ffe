"""Batches whose rewards and advantages are worked out beside the services, from the equations and the estimator."""

import random

import numpy as np
import pytest
from hand_made import Made, make_task, make_trajectory
from pipeline_world import critic_values

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.advantages.batch import TurnBatch
from hiper.advantages.hae import HaeConfig, estimate_hae
from hiper.vocabulary import Level

SIZE = 6


def make_batch(batch: str, *, size: int = SIZE, seed: int = 0) -> list[Trajectory]:
    """Wins, losses and truncations of 1 to 5 turns."""
    draw = random.Random(f"{batch}{seed}")
    made = []
    for sample in range(size):
        turns = [
            Made(switch=draw.random() < 0.5, valid=draw.random() < 0.8, consistent=draw.random() < 0.7)
            for _ in range(draw.randint(1, 5))
        ]
        task = make_task(sample, batch=batch, size=size)
        made.append(make_trajectory(turns, task=task, won=sample % 3 == 0, truncated=sample % 3 == 1))
    return made


def expected_rewards(made: Trajectory) -> list[float]:
    """Section 7 with the default weights, written out by hand."""
    turns, rewards = made.turns, []
    for turn in turns:
        reward = 0.0 if turn.valid else -0.1
        if not turn.is_switch:
            reward += -0.3 / len(turns) if len(turns) > 1 else 0.0
            reward += -0.3 if turn.index and not turn.subgoal_consistent else 0.0
        rewards.append(reward)
    rewards[-1] += 10.0 * made.outcome.won
    return rewards


def expected_advantages(members: list[Trajectory]) -> list[dict[Level, float]]:
    """The estimator asked directly, its table made from nothing but the published trajectories."""
    rows = [(number, one, turn) for number, one in enumerate(members) for turn in one.turns]
    values = [critic_values(turn.prompt_ids) for _, _, turn in rows]
    last = np.array([turn.index == len(one.turns) - 1 for _, one, turn in rows])
    truncated = np.array([one.outcome.truncated for _, one, _ in rows]) & last
    beyond = [
        critic_values(one.next_prompt_ids).switch if cut else np.nan
        for (_, one, _), cut in zip(rows, truncated, strict=True)
    ]
    result = estimate_hae(
        TurnBatch(
            trajectory=np.array([number for number, _, _ in rows]),
            turn=np.array([turn.index for _, _, turn in rows]),
            switch=np.array([turn.is_switch for _, _, turn in rows]),
            reward=np.concatenate([expected_rewards(one) for one in members]),
            terminated=np.array([one.outcome.terminated for _, one, _ in rows]) & last,
            truncated=truncated,
            v_low=np.array([value.low for value in values]),
            v_high=np.array([value.high for value in values]),
            v_switch=np.array([value.switch for value in values]),
            has_action_tokens=np.full(len(rows), True),
            has_subgoal_tokens=np.full(len(rows), True),
            has_switch_tokens=np.full(len(rows), True),
            truncation_value=np.array(beyond),
        ),
        HaeConfig(),
    )
    return [{level: float(result.advantages[level][row]) for level in Level} for row in range(len(rows))]


def assert_as_computed_directly(members: list[Trajectory]) -> None:
    turns = [turn for one in members for turn in one.turns]
    for turn, expected in zip(turns, expected_advantages(members), strict=True):
        for level, value in expected.items():
            assert turn.advantages.HasField(level.value) == (not np.isnan(value))
            if not np.isnan(value):
                assert getattr(turn.advantages, level.value) == pytest.approx(value)
