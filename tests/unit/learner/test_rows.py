"""Which token carries which level's advantage."""

import numpy as np
import pytest
from learner_made import VOCABULARY, make_trajectory

from hiper._proto.common.v1.types_pb2 import LevelValues, TokenSpan
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory, Turn
from hiper.errors import IntegrityError
from services.learner.rows import rows_of

LOW, HIGH, SWITCH = 1.0, 10.0, 100.0


def trained(length: int = 10, **changes) -> tuple[np.ndarray, np.ndarray]:
    """Token advantages and loss mask of a turn whose blocks are all there."""
    turn = {
        "prompt_ids": bytes(4),
        "response_ids": bytes(4 * length),
        "response_logprobs": bytes(4 * length),
        "switch_span": TokenSpan(start=0, end=3),
        "subgoal_span": TokenSpan(start=3, end=6),
        "action_span": TokenSpan(start=7, end=9),
        "advantages": LevelValues(low=LOW, high=HIGH, switch=SWITCH),
    }
    # A longer turn beside it must not matter.
    longer = Turn(**{**turn, "response_ids": bytes(80), "response_logprobs": bytes(80)})
    (row, _) = rows_of([Trajectory(turns=[Turn(**{**turn, **changes}), longer])], VOCABULARY)
    return row.advantages, row.mask


def test_levels_own_their_blocks_and_low_owns_the_rest() -> None:
    advantages, mask = trained()
    assert advantages.tolist() == [SWITCH] * 3 + [HIGH] * 3 + [LOW] * 4
    assert mask.all(), "separator and end-of-sequence are inside the loss"


def test_copied_subgoal_of_a_keep_turn_is_outside_the_loss() -> None:
    advantages, mask = trained(advantages=LevelValues(low=LOW, switch=SWITCH))
    assert advantages[3:6].tolist() == [0, 0, 0]
    assert mask.tolist() == [True] * 3 + [False] * 3 + [True] * 4


def test_token_that_straddles_two_blocks_carries_both() -> None:
    advantages, _ = trained(subgoal_span=TokenSpan(start=2, end=6))
    assert advantages[2] == SWITCH + HIGH


def test_missing_action_block_makes_every_token_low() -> None:
    blocks = dict.fromkeys(("switch_span", "subgoal_span", "action_span"))
    advantages, mask = trained(4, **blocks, advantages=LevelValues(low=LOW))
    assert advantages.tolist() == [LOW] * 4
    assert mask.all()


def test_absent_targets_are_nan() -> None:
    trajectory = make_trajectory(0, turns=1)
    trajectory.turns[0].returns.ClearField("high")
    (row,) = rows_of([trajectory], VOCABULARY)
    assert np.isnan(row.targets).tolist() == [False, True, False]


def test_rows_keep_what_was_recorded() -> None:
    trajectory = make_trajectory(3, turns=2)
    trajectory.turns[1].policy_version_start = 7
    first, second = rows_of([trajectory], VOCABULARY)
    turn = trajectory.turns[0]
    assert first.tokens.prompt.astype("<i4").tobytes() == turn.prompt_ids
    assert first.tokens.response.astype("<i4").tobytes() == turn.response_ids
    assert first.behaviour_logprobs.astype("<f4").tobytes() == turn.response_logprobs
    np.testing.assert_allclose(first.targets, [turn.returns.low, turn.returns.high, turn.returns.switch], rtol=1e-6)
    assert (first.policy_version, second.policy_version) == (0, 7)


def test_turn_without_a_response_is_no_row() -> None:
    trajectory = make_trajectory(0, turns=3)
    trajectory.turns[1].response_ids = trajectory.turns[1].response_logprobs = b""
    assert len(rows_of([trajectory], VOCABULARY)) == 2


@pytest.mark.parametrize(
    "damage", ["logprobs", "prompt", "position", "bytes", "token", "negative", "advantage", "span"]
)
def test_contradiction_names_the_trajectory_and_turn(damage: str) -> None:
    trajectory = make_trajectory(0)
    broken = trajectory.turns[2]
    if damage == "logprobs":
        broken.response_logprobs = broken.response_logprobs[:-4]
    elif damage == "prompt":
        broken.prompt_ids = b""
    elif damage == "position":
        broken.value_low_position = 99
    elif damage == "bytes":
        broken.response_ids += b"\0"
    elif damage == "token":
        broken.prompt_ids = np.array([1, VOCABULARY], dtype="<i4").tobytes()
    elif damage == "negative":
        broken.prompt_ids = np.array([1, -1], dtype="<i4").tobytes()
    elif damage == "span":
        broken.action_span.start = broken.action_span.end + 1
    else:
        broken.advantages.low = float("nan")
    with pytest.raises(IntegrityError, match="r/train-000000/0/0, turn 2"):
        rows_of([trajectory], VOCABULARY)
