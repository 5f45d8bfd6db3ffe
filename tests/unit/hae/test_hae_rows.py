"""Trajectories to tables and back: order, levels that are absent, truncation."""

import math

import numpy as np
import pytest
from hand_made import Made, make_task, make_trajectory

from hiper._proto.common.v1.types_pb2 import LevelValues
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.advantages.batch import TurnAdvantages
from hiper.errors import DataError
from hiper.vocabulary import Level
from services.hae.rows import fill, turn_batch, value_queries
from services.hae.values import CriticReading


def batch_of_three() -> list[Trajectory]:
    """Lengths 2, 1, 3; the second and third are truncated, the second without a next prompt."""
    made = [
        make_trajectory([Made(switch=True), Made()], task=make_task(0)),
        make_trajectory([Made(subgoal_block=False)], task=make_task(1), truncated=True),
        make_trajectory([Made(), Made(switch=True), Made()], task=make_task(2), truncated=True),
    ]
    made[1].ClearField("next_prompt_ids")
    for trajectory in made:
        for turn in trajectory.turns:
            turn.reward = 10 * trajectory.task.sample + turn.index
    return made


def reading(count: int, *, switch_head: bool = True) -> CriticReading:
    values = [LevelValues(low=n, high=n + 0.25, switch=n + 0.5 if switch_head else None) for n in range(count)]
    return CriticReading(values, version=7)


def test_the_critic_is_asked_for_every_turn_and_every_known_next_prompt() -> None:
    made = batch_of_three()
    queries = value_queries(made)
    turns = [turn for trajectory in made for turn in trajectory.turns]
    assert [query.prompt_ids for query in queries] == [*(t.prompt_ids for t in turns), made[2].next_prompt_ids]
    assert [query.response_ids for query in queries] == [*(t.response_ids for t in turns), b""]
    assert [query.value_low_position for query in queries] == [6] * 6 + [0]


def test_the_table_holds_the_turns_in_order() -> None:
    table = turn_batch(batch_of_three(), reading(7))
    assert table.trajectory.tolist() == [0, 0, 1, 2, 2, 2]
    assert table.turn.tolist() == [0, 1, 0, 0, 1, 2]
    assert table.switch.tolist() == [True, False, False, False, True, False]
    assert table.reward.tolist() == [0, 1, 10, 20, 21, 22]
    assert table.terminated.tolist() == [False, True, False, False, False, False]
    assert table.truncated.tolist() == [False, False, True, False, False, True]
    assert table.v_low.tolist() == [0, 1, 2, 3, 4, 5]
    assert table.v_switch.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert table.has_subgoal_tokens.tolist() == [True, True, False, True, True, True]
    assert table.truncation_value is not None
    np.testing.assert_array_equal(table.truncation_value, [math.nan] * 5 + [6.5])


def test_the_table_knows_who_plays_the_same_task_and_who_saw_the_same() -> None:
    made = batch_of_three()
    for trajectory, group in zip(made, (4, 4, 0), strict=True):
        trajectory.task.group = group
    seen = ["a room", "a shelf", "a room", "a room", "", ""]
    turns = [turn for trajectory in made for turn in trajectory.turns]
    for turn, observation in zip(turns, seen, strict=True):
        turn.observation = observation
    table = turn_batch(made, reading(7))
    assert table.group is not None
    assert table.group.tolist() == [4, 4, 4, 0, 0, 0]
    assert table.anchor is not None
    room, shelf = table.anchor[:2].tolist()
    assert room != shelf
    assert min(room, shelf) >= 0
    assert table.anchor.tolist() == [room, shelf, room, room, -1, -1], "an observation that was not kept is not known"


def test_a_critic_without_switch_head_bootstraps_with_the_high_one() -> None:
    table = turn_batch(batch_of_three(), reading(7, switch_head=False))
    assert np.isnan(table.v_switch).all()
    assert table.truncation_value is not None
    assert table.truncation_value[-1] == 6.25


def test_a_turn_without_reward_is_named() -> None:
    made = batch_of_three()
    made[2].turns[1].ClearField("reward")
    with pytest.raises(DataError, match=r"test/train-000000/0/2: turn 1 has no reward"):
        turn_batch(made, reading(7))


def test_what_a_turn_does_not_have_is_absent_and_not_zero() -> None:
    made = batch_of_three()
    answers = reading(7)
    table = turn_batch(made, answers)
    column = np.array([1.0, np.nan, 0.0, 2.0, np.nan, 3.0])
    levels = {level: column + number for number, level in enumerate(Level)}
    result = TurnAdvantages(
        advantages=levels,
        raw=levels,
        returns={level: -values for level, values in levels.items()},
        boundary=np.array([True, False, True, True, True, False]),
        segment=np.arange(6),
    )
    fill(made, answers, table, result)
    turns = [turn for trajectory in made for turn in trajectory.turns]
    assert [turn.advantages.HasField("low") for turn in turns] == [True, False, True, True, False, True]
    assert turns[2].advantages == LevelValues(low=0, high=1, switch=2)
    assert turns[3].returns == LevelValues(low=-2, high=-3, switch=-4)
    assert turns[5].values == LevelValues(low=5, high=5.25, switch=5.5)
    assert [turn.is_boundary for turn in turns] == [True, False, True, True, True, False]
    assert [trajectory.critic_version for trajectory in made] == [7, 7, 7]
    assert [trajectory.HasField("truncation_value") for trajectory in made] == [False, False, True]
    assert made[2].truncation_value == 6.5
