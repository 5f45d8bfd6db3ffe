"""Trajectories that contradict themselves are told, with the contradiction; sound ones are not."""

from collections.abc import Callable

import numpy as np
import pytest
from hand_made import Made, ids, make_trajectory

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory, Turn
from services.reward.validate import contradiction

Spoil = Callable[[Trajectory], object]


def set_field(owner: Callable[[Trajectory], object], name: str, value: object) -> Spoil:
    return lambda made: setattr(owner(made), name, value)


def turn(made: Trajectory) -> Turn:
    return made.turns[1]


@pytest.mark.parametrize("truncated", [False, True])
def test_a_sound_trajectory_passes(truncated: bool) -> None:
    assert contradiction(make_trajectory([Made(), Made(switch=True, subgoal_block=False)], truncated=truncated)) == ""


def test_an_abandoned_one_without_turns_passes() -> None:
    made = make_trajectory([])
    made.outcome.abandoned = "environment"
    assert contradiction(made) == ""


def test_an_empty_response_passes() -> None:
    made = make_trajectory([Made()])
    silent = made.turns[0]
    for name in ("response_ids", "response_logprobs", "switch_span", "subgoal_span", "action_span"):
        silent.ClearField(name)
    silent.value_low_position = 0
    assert contradiction(made) == ""


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (set_field(lambda m: m.task, "batch_id", ""), "its task lacks"),
        (set_field(lambda m: m.task, "batch_size", 0), "its task lacks"),
        (set_field(lambda m: m.task, "kind", 0), "neither for training nor for evaluation"),
        (set_field(lambda m: m.outcome, "abandoned", "engine"), "abandoned (engine), yet it has 2 turns"),
        (lambda m: m.ClearField("turns"), "no turns, yet not abandoned"),
        (set_field(lambda m: m.outcome, "truncated", True), "both terminated and truncated"),
        (set_field(lambda m: m, "next_prompt_ids", ids(1)), "a next prompt, yet not truncated"),
        (set_field(turn, "index", 2), "turn 2 at position 1"),
        (set_field(turn, "prompt_ids", b""), "turn 1: prompt_ids is empty"),
        (set_field(turn, "prompt_ids", b"\0" * 5), "turn 1: prompt_ids is empty or no list of int32"),
        (set_field(turn, "response_ids", b"\0" * 37), "turn 1: response_ids is no list of int32"),
        (set_field(turn, "response_logprobs", b"\0" * 32), "turn 1: 8 log-probabilities for 9 tokens"),
        (
            set_field(turn, "response_logprobs", np.array([np.nan] * 9, dtype="<f4").tobytes()),
            "turn 1: a log-probability is not finite",
        ),
        (set_field(lambda m: turn(m).action_span, "end", 10), "turn 1: action span [6, 10) in 9 tokens"),
        (set_field(lambda m: turn(m).switch_span, "start", 4), "turn 1: switch span [4, 3) in 9 tokens"),
        (set_field(lambda m: turn(m).subgoal_span, "end", 99), "turn 1: sub-goal span [3, 99) in 9 tokens"),
        (set_field(turn, "value_low_position", 10), "turn 1: value_low_position 10 in 9 tokens"),
        (set_field(turn, "env_reward", float("inf")), "turn 1: env_reward is inf"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_contradiction_is_named(spoil: Spoil, sentence: str) -> None:
    made = make_trajectory([Made(), Made()])
    spoil(made)
    assert sentence in contradiction(made)
