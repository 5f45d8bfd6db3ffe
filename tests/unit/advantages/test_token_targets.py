"""Which tokens are trained, and with what (method.md, section 8)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.advantages.tokens import TokenRule, TurnSpans, level_tokens, token_targets
from hiper.vocabulary import Level, TokenSpan

SWITCH, SUBGOAL, ACTION = TokenSpan(0, 3), TokenSpan(4, 7), TokenSpan(7, 9)


def targets(rule: TokenRule, *, boundary=True, subgoal=SUBGOAL, action=ACTION, length=10, advantages=(1, 10, 100)):
    spans = TurnSpans.collect([length], [SWITCH], [subgoal], [action])
    per_level = dict(zip(Level, (np.array([float(value)]) for value in advantages), strict=True))
    found = token_targets(level_tokens(spans, rule, 12), per_level, np.array([boundary]))
    return found.advantages[0].tolist(), found.mask[0].tolist()


def test_blocks_only() -> None:
    advantages, mask = targets(TokenRule.BLOCKS)
    assert advantages == [100, 100, 100, 0, 10, 10, 10, 1, 1, 0, 0, 0]
    assert mask == [value != 0 for value in advantages]


def test_separators_and_end_of_sequence_carry_the_low_level_and_padding_nothing() -> None:
    advantages, mask = targets(TokenRule.ALL)
    assert advantages == [100, 100, 100, 1, 10, 10, 10, 1, 1, 1, 0, 0]
    assert mask == [True] * 10 + [False] * 2


def test_a_copied_subgoal_stays_out_of_the_loss() -> None:
    for rule in TokenRule:
        advantages, mask = targets(rule, boundary=False, advantages=(1, np.nan, 100))
        assert advantages[4:7] == [0, 0, 0]
        assert mask[4:7] == [False] * 3


def test_without_an_action_block_the_whole_response_is_the_action() -> None:
    for rule in TokenRule:
        advantages, mask = targets(rule, action=None)
        assert advantages == [101, 101, 101, 1, 11, 11, 11, 1, 1, 1, 0, 0]
        assert mask == [True] * 10 + [False] * 2


def test_a_token_across_two_tags_belongs_to_both_levels() -> None:
    assert targets(TokenRule.BLOCKS, action=TokenSpan(6, 9))[0][6] == 11


def test_spans_are_clipped_to_the_response() -> None:
    advantages, mask = targets(TokenRule.BLOCKS, length=5)
    assert advantages[:6] == [100, 100, 100, 0, 10, 0]
    assert sum(mask) == 4


def test_a_level_without_advantage_leaves_the_loss() -> None:
    _, mask = targets(TokenRule.ALL, advantages=(1, 10, np.nan))
    assert mask[:4] == [False, False, False, True]


def test_a_zero_advantage_stays_in_the_loss() -> None:
    advantages, mask = targets(TokenRule.ALL, advantages=(0, 0, 0))
    assert (sum(advantages), sum(mask)) == (0, 10)


def test_high_level_on_switch_tokens_of_boundary_turns() -> None:
    tokens = level_tokens(TurnSpans.collect([9, 9], [SWITCH] * 2, [SUBGOAL] * 2, [ACTION] * 2), TokenRule.BLOCKS)
    per_level = {Level.LOW: np.ones(2), Level.HIGH: np.full(2, 10.0), Level.SWITCH: np.full(2, 100.0)}
    found = token_targets(tokens, per_level, np.array([True, False]), high_on=(Level.HIGH, Level.SWITCH))
    assert found.advantages[:, 0].tolist() == [110, 100]
    assert found.advantages[:, 4].tolist() == [10, 0]


def test_a_response_wider_than_the_table_is_refused() -> None:
    spans = TurnSpans.collect([5], [None], [None], [None])
    with pytest.raises(ValueError, match="5 tokens"):
        level_tokens(spans, width=4)


@given(st.lists(st.tuples(*[st.integers(0, 12)] * 7), min_size=1, max_size=6))
def test_every_sampled_token_is_trained_but_copies(rows) -> None:
    def span(a: int, b: int) -> TokenSpan:
        return TokenSpan(min(a, b), max(a, b))

    lengths = [row[0] for row in rows]
    spans = TurnSpans.collect(
        lengths,
        switch=[span(row[1], row[2]) for row in rows],
        subgoal=[span(row[3], row[4]) for row in rows],
        action=[span(row[5], row[6]) for row in rows],
    )
    tokens = level_tokens(spans)
    ones = {level: np.ones(len(rows)) for level in Level}
    opened = token_targets(tokens, ones, np.ones(len(rows), dtype=bool))
    assert opened.mask.sum(axis=1).tolist() == lengths
    kept = token_targets(tokens, ones, np.zeros(len(rows), dtype=bool))
    copied = tokens.spread(tokens.subgoal & ~tokens.action & ~tokens.switch)
    assert (kept.mask == opened.mask & ~copied).all()
