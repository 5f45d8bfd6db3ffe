"""Reward terms (method.md, section 7)."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.advantages.shaping import (
    KeepPenaltyMode,
    ShapingConfig,
    ShapingTurns,
    reward_terms,
    shaped_reward,
)
from hiper.errors import ConfigError
from hiper.vocabulary import ShapingTerm

OFF = ShapingConfig(success=1, keep_penalty=0, invalid_output=0, consistency=0)


def turns(switch: str, **columns) -> ShapingTurns:
    """One trajectory, `S` and `K` per turn; nothing is wrong with it unless a column says so."""
    size = len(switch)
    content = {
        "trajectory": np.zeros(size),
        "turn": np.arange(size),
        "switch": [letter == "S" for letter in switch],
        "base": np.zeros(size),
        "valid": np.ones(size),
        "admissible": np.ones(size),
        "inconsistent": np.zeros(size),
        "subgoal_missing": np.zeros(size),
    }
    return ShapingTurns(**(content | columns))


def test_every_term_lands_on_its_turns() -> None:
    config = ShapingConfig(
        success=10, keep_penalty=-0.3, keep_penalty_mode="fixed", invalid_output=0.1, inadmissible_action=0.03
    )
    terms = reward_terms(
        turns("SKKK", base=[0, 0, 0, 1], valid=[1, 0, 1, 1], admissible=[0, 1, 1, 1], inconsistent=[1, 0, 1, 0]), config
    )
    assert terms[ShapingTerm.SUCCESS].tolist() == [0, 0, 0, 10]
    assert terms[ShapingTerm.KEEP].tolist() == [0, -0.3, -0.3, -0.3]
    assert terms[ShapingTerm.INVALID_OUTPUT].tolist() == [0, -0.1, 0, 0]
    assert terms[ShapingTerm.INADMISSIBLE_ACTION].tolist() == [-0.03, 0, 0, 0]
    assert terms[ShapingTerm.CONSISTENCY].tolist() == [0, 0, -0.3, 0], "a SWITCH may write what it likes"
    np.testing.assert_allclose(shaped_reward(turns("SKKK"), config), [0, -0.3, -0.3, -0.3])


def test_keep_penalty_normalized_is_the_share_of_keep_turns() -> None:
    config = replace(OFF, keep_penalty=-3.5, keep_penalty_mode=KeepPenaltyMode.NORMALIZED)
    assert shaped_reward(turns("SKKS"), config).sum() == pytest.approx(-3.5 * 2 / 4)
    assert shaped_reward(turns("K"), config).tolist() == [0], "one turn is exempt"
    fixed = replace(config, keep_penalty_mode=KeepPenaltyMode.FIXED)
    assert shaped_reward(turns("KK"), fixed).tolist() == [-3.5, -3.5], "a KEEP at turn 0 pays too"


def test_a_missing_subgoal_pays_only_if_told_so() -> None:
    silent = turns("KKK", subgoal_missing=[1, 1, 0])
    config = replace(OFF, consistency=-1)
    assert shaped_reward(silent, config).tolist() == [0, 0, 0]
    assert shaped_reward(silent, replace(config, consistency_requires_both=False)).tolist() == [0, -1, 0]


@given(st.lists(st.sampled_from("SK"), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_row_order_and_copies_do_not_matter(letters, random) -> None:
    config = ShapingConfig(keep_penalty=-1)
    plain = turns("".join(letters), inconsistent=[random.random() < 0.5 for _ in letters])
    order = list(range(len(letters)))
    random.shuffle(order)
    rows = [*order, order[0]]
    moved = ShapingTurns(**{name: getattr(plain, name)[rows] for name in plain.__dataclass_fields__})
    found = shaped_reward(moved, config)
    np.testing.assert_allclose(found[:-1], shaped_reward(plain, config)[order])
    assert found[-1] == 0, "a copy earns nothing"


def test_penalties_of_the_wrong_sign_are_refused() -> None:
    with pytest.raises(ConfigError, match="keep_penalty"):
        ShapingConfig(keep_penalty=0.3)
    with pytest.raises(ConfigError, match="invalid_output"):
        ShapingConfig(invalid_output=-0.1)
    with pytest.raises(ConfigError, match="normalized"):
        ShapingConfig(keep_penalty_mode="shared")
