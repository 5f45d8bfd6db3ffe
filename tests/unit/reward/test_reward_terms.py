"""The terms of the reward, as method.md, section 7, states them."""

import numpy as np
import pytest
from hand_made import Made, make_trajectory
from hypothesis import given
from hypothesis import strategies as st

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.config.sections import RewardSettings
from hiper.errors import IntegrityError
from services.reward.terms import score, shaping_config

KEEP, SWITCH = Made(), Made(switch=True)
MADE = st.builds(
    Made,
    switch=st.booleans(),
    valid=st.booleans(),
    admissible=st.booleans(),
    consistent=st.booleans(),
    subgoal_block=st.booleans(),
)


def scored(turns: list[Made], *, won: bool = False, **settings: object) -> Trajectory:
    made = make_trajectory(turns, won=won)
    score(made, shaping_config(RewardSettings(**settings)))
    return made


def rewards(made: Trajectory) -> list[float]:
    return [turn.reward for turn in made.turns]


def test_the_winning_turn_gets_the_success_reward() -> None:
    made = scored([SWITCH, SWITCH], won=True)
    assert rewards(made) == [0, 10]
    assert dict(made.turns[1].reward_terms) == {"success": 10}
    assert rewards(scored([SWITCH, SWITCH], won=False)) == [0, 0]


def test_normalized_keep_penalty_is_shared_by_the_turns() -> None:
    made = scored([SWITCH, KEEP, KEEP, SWITCH], keep_penalty=-0.4)
    assert rewards(made) == pytest.approx([0, -0.1, -0.1, 0])


def test_normalized_keep_penalty_spares_an_episode_of_one_turn() -> None:
    assert rewards(scored([KEEP], keep_penalty=-0.4)) == [0]


def test_fixed_keep_penalty_hits_every_keep_turn_the_first_included() -> None:
    made = scored([KEEP, SWITCH, KEEP], keep_penalty=-0.4, keep_penalty_mode="fixed")
    assert rewards(made) == pytest.approx([-0.4, 0, -0.4])


def test_each_fault_takes_its_own_penalty() -> None:
    made = scored(
        [SWITCH, Made(switch=True, valid=False), Made(switch=True, admissible=False)],
        invalid_output=0.1,
        inadmissible_action=0.05,
    )
    assert rewards(made) == pytest.approx([0, -0.1, -0.05])


def test_consistency_is_asked_of_keep_turns_after_the_first_that_wrote_a_subgoal() -> None:
    drifted = {"consistent": False}
    made = scored(
        [Made(**drifted), Made(**drifted), Made(switch=True, **drifted), Made(subgoal_block=False, **drifted)],
        keep_penalty=0.0,
        consistency=-0.3,
    )
    assert rewards(made) == pytest.approx([0, -0.3, 0, 0])


def test_an_abandoned_episode_has_nothing_to_score() -> None:
    abandoned = Trajectory()
    score(abandoned, shaping_config(RewardSettings()))
    assert abandoned == Trajectory()


def test_terms_of_plug_ins_are_added_by_their_names() -> None:
    made = make_trajectory([SWITCH, SWITCH], won=True)
    score(made, shaping_config(RewardSettings()), {"tone": np.array([0.0, -0.5])})
    assert rewards(made) == [0, 9.5]
    assert [dict(turn.reward_terms) for turn in made.turns] == [{}, {"success": 10, "tone": -0.5}]


def test_a_sum_that_overflows_is_told() -> None:
    made = make_trajectory([SWITCH], won=True)
    with pytest.raises(IntegrityError, match="turn 0: the sum of its reward terms is inf"):
        score(made, shaping_config(RewardSettings(success=1.7e308)), {"tone": np.array([1.7e308])})


@given(st.lists(MADE, min_size=2, max_size=12), st.booleans())
def test_the_reward_is_the_sum_of_its_terms_and_scoring_again_changes_nothing(turns: list[Made], won: bool) -> None:
    made = scored(turns, won=won, inadmissible_action=0.05)
    for turn in made.turns:
        assert turn.reward == pytest.approx(sum(turn.reward_terms.values()))
    again = Trajectory.FromString(made.SerializeToString())
    score(again, shaping_config(RewardSettings(inadmissible_action=0.05)))
    assert again == made


@given(st.lists(MADE, min_size=2, max_size=12))
def test_normalized_penalties_of_an_episode_are_its_share_of_keep_turns(turns: list[Made]) -> None:
    made = scored(turns, keep_penalty=-3.5)
    kept = sum(not turn.switch for turn in turns) / len(turns)
    assert sum(turn.reward_terms["keep"] for turn in made.turns) == pytest.approx(-3.5 * kept)
