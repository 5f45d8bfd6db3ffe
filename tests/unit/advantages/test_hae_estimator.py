"""HAE and flat GAE as mathematics: against the equations, their special cases, and what must not matter."""

from dataclasses import replace

import numpy as np
import pytest
from advantage_batches import SHARES, batches, configs, make_batch, rows_of, slow_gae, slow_hae
from hypothesis import assume, given
from hypothesis import strategies as st

from hiper.advantages.batch import TurnError
from hiper.advantages.gae import GaeConfig, estimate_gae
from hiper.advantages.hae import CriticHeads, HaeConfig, HaeMode, estimate_hae
from hiper.advantages.scan import reverse_scan
from hiper.advantages.whitening import EPSILON, whiten
from hiper.errors import ConfigError, DataError
from hiper.vocabulary import Level

PLAIN = HaeConfig(whiten=False)


def close(found, expected) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-9, rtol=1e-9)


@given(batches(), configs())
def test_agrees_with_the_equations(batch, config) -> None:
    found, expected = estimate_hae(batch, config), slow_hae(batch, config)
    for level in Level:
        close(found.raw[level], expected["raw"][level])
        close(found.returns[level], expected["returns"][level])


@given(batches(), configs(), st.randoms(use_true_random=False))
def test_row_order_gaps_and_copies_do_not_matter(batch, config, random) -> None:
    order = list(range(len(batch)))
    random.shuffle(order)
    copies = [row for row in order if random.random() < 0.3]
    moved = rows_of(batch, order + copies)
    moved = replace(moved, turn=moved.turn * 7 + 100, trajectory=5 - moved.trajectory * 3)
    # What a copy holds must not count either.
    reward = moved.reward.copy()
    reward[len(order) :] = 1e6
    plain, found = estimate_hae(batch, config), estimate_hae(replace(moved, reward=reward), config)
    for level in Level:
        close(found.raw[level][: len(order)], plain.raw[level][order])
        close(found.returns[level][: len(order)], plain.returns[level][order])
        assert np.isnan(found.raw[level][len(order) :]).all()
        assert np.isnan(found.returns[level][len(order) :]).all()
    assert (found.boundary[: len(order)] == plain.boundary[order]).all()
    assert not found.boundary[len(order) :].any()
    assert (found.segment[len(order) :] == -1).all()


@given(batches())
def test_segments_partition_every_trajectory(batch) -> None:
    found = estimate_hae(batch, PLAIN)
    assert found.boundary.sum() == len(np.unique(found.segment)) == found.segment.max() + 1
    for trajectory in np.unique(batch.trajectory):
        own = batch.trajectory == trajectory
        assert found.boundary[own][0]
        assert (np.diff(found.segment[own]) == found.boundary[own][1:]).all(), "a new number at each boundary only"
        assert (found.boundary[own][1:] == batch.switch[own][1:]).all()


@given(st.integers(1, 60), st.integers(0, 2**32 - 1), SHARES, SHARES)
def test_switching_every_turn_makes_the_high_level_flat_gae(turns, seed, gamma, lam) -> None:
    batch = make_batch([[True] * turns], seed)
    found = estimate_hae(batch, HaeConfig(gamma=gamma, lam_seg=lam, whiten=False))
    close(found.raw[Level.HIGH], slow_gae(batch.reward, batch.v_high, gamma, lam))
    flat = estimate_gae(batch, GaeConfig(gamma=gamma, lam=lam, whiten=False, head=Level.HIGH))
    close(found.raw[Level.HIGH], flat.raw[Level.LOW])
    close(found.returns[Level.HIGH], flat.returns[Level.HIGH])


@given(st.integers(1, 60), st.integers(0, 2**32 - 1), SHARES, SHARES)
def test_one_segment_makes_the_low_level_flat_gae(turns, seed, gamma, lam) -> None:
    batch = make_batch([[False] * turns], seed)
    found = estimate_hae(batch, HaeConfig(gamma=gamma, lam_low=lam, whiten=False))
    close(found.raw[Level.LOW], slow_gae(batch.reward, batch.v_low, gamma, lam))
    assert found.boundary.tolist() == [True] + [False] * (turns - 1), "turn 0 opens a segment whatever was written"


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_undiscounted_advantages_telescope_to_returns(switches, seed) -> None:
    batch = make_batch([switches], seed)
    found = estimate_hae(batch, HaeConfig(gamma=1.0, lam_low=1.0, lam_seg=1.0, whiten=False))
    to_go = np.cumsum(batch.reward[::-1])[::-1]
    close(found.raw[Level.HIGH][found.boundary], (to_go - batch.v_high)[found.boundary])
    for segment in np.unique(found.segment):
        own = np.flatnonzero(found.segment == segment)
        after = own[-1] + 1
        beyond = batch.v_high[after] if after < len(batch) else 0.0
        close(found.returns[Level.LOW][own], np.cumsum(batch.reward[own][::-1])[::-1] + beyond)
        close(found.returns[Level.SWITCH][own], found.returns[Level.LOW][own])


def test_a_very_long_trajectory_underflows_to_zero_and_nothing_worse() -> None:
    batch = make_batch([[False] * 20_000], 1)
    found = estimate_hae(batch, HaeConfig(gamma=0.3, lam_low=0.3, whiten=False))
    close(found.raw[Level.LOW], slow_gae(batch.reward, batch.v_low, 0.3, 0.3))


@pytest.mark.parametrize("level", Level)
def test_truncation_is_not_termination(level: Level) -> None:
    ended = make_batch([[True, False, False]], 3)
    cut = replace(ended, terminated=[False] * 3, truncated=[False, False, True], truncation_value=[np.nan, np.nan, 2.5])
    assert estimate_hae(cut, PLAIN).returns[level][0] == pytest.approx(
        estimate_hae(ended, PLAIN).returns[level][0] + 2.5
    )
    unknown = replace(cut, truncation_value=None)
    close(estimate_hae(unknown, PLAIN).returns[level], estimate_hae(ended, PLAIN).returns[level])


@given(batches())
def test_whitening_is_per_level_over_the_turns_that_own_a_token(batch) -> None:
    found = estimate_hae(batch, HaeConfig(whiten=True))
    for level in Level:
        raw, whitened = found.raw[level], found.advantages[level]
        assert (np.isnan(raw) == np.isnan(whitened)).all()
        owned = whitened[~np.isnan(whitened)]
        if len(owned) > 1:
            assert abs(owned.mean()) < 1e-6
            spread = raw[~np.isnan(raw)].std()
            assert owned.std() == pytest.approx(spread / (spread + EPSILON))
        elif len(owned) == 1:
            assert owned[0] == 0.0
    plain = estimate_hae(batch, PLAIN)
    for level in Level:
        close(found.returns[level], plain.returns[level])


def test_whitening_of_equal_and_of_no_turns() -> None:
    everyone = np.ones(3, dtype=bool)
    close(whiten(np.array([0.5, 0.5, 0.5]), everyone), [0, 0, 0])
    assert np.isnan(whiten(np.array([1.0, 2.0, 3.0]), ~everyone)).all()
    some = whiten(np.array([1.0, 99.0, 3.0]), np.array([True, False, True]))
    np.testing.assert_allclose(some, [-1, np.nan, 1], atol=1e-6)
    assert whiten(np.array([4.0]), np.array([True])) == [0.0]
    assert (whiten(np.full(3, 1e9 + 0.1), everyone) == 0).all(), "rounding of a large mean is no variance"


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20), st.floats(-1e3, 1e3))
def test_whitening_ignores_a_constant(values, constant) -> None:
    plain = np.array(values)
    assume(plain.std() > 1e-3)
    everyone = np.ones(len(plain), dtype=bool)
    np.testing.assert_allclose(whiten(plain + constant, everyone), whiten(plain, everyone), atol=1e-6)


@given(batches(), st.randoms(use_true_random=False))
def test_whitening_does_not_ask_how_a_batch_came_together(batch, random) -> None:
    """Its trajectories dealt to several processes and gathered again, in whatever order, give the same numbers."""
    hands = [random.randrange(3) for _ in range(int(batch.trajectory.max()) + 1)]
    order = [row for hand in range(3) for row in range(len(batch)) if hands[batch.trajectory[row]] == hand]
    whole, gathered = (estimate_hae(one, HaeConfig(whiten=True)) for one in (batch, rows_of(batch, order)))
    for level in Level:
        np.testing.assert_allclose(gathered.advantages[level], whole.advantages[level][order], atol=1e-6)


def test_fewer_heads() -> None:
    batch = make_batch([[True, False, True, True]], 5)
    two = estimate_hae(replace(batch, v_switch=[np.nan] * 4), HaeConfig(heads=CriticHeads.TWO, whiten=False))
    close(two.raw[Level.LOW], estimate_hae(batch, PLAIN).raw[Level.LOW])
    assert np.isnan([*two.raw[Level.SWITCH], *two.returns[Level.SWITCH]]).all()
    one = estimate_hae(replace(batch, v_high=[np.nan] * 4), HaeConfig(heads=CriticHeads.ONE, whiten=False))
    as_if = estimate_hae(replace(batch, v_high=batch.v_low), PLAIN)
    for level in (Level.LOW, Level.HIGH):
        close(one.raw[level], as_if.raw[level])
    assert np.isnan(one.raw[Level.SWITCH]).all()


def test_an_empty_batch_has_empty_answers() -> None:
    batch = rows_of(make_batch([[True]]), np.zeros(0, dtype=int))
    for found in (estimate_hae(batch, PLAIN), estimate_gae(batch, GaeConfig())):
        assert len(found.boundary) == len(found.segment) == len(found.advantages[Level.LOW]) == 0


@given(batches(), SHARES, SHARES)
def test_flat_gae_gives_a_turn_one_advantage(batch, gamma, lam) -> None:
    found = estimate_gae(batch, GaeConfig(gamma=gamma, lam=lam))
    stacked = np.stack([found.advantages[level] for level in Level])
    for column in stacked.T:
        assert len(set(column[~np.isnan(column)])) <= 1
    owned = np.nanmax(stacked[:, ~np.isnan(stacked).all(axis=0)], axis=0)
    assert len(owned) < 2 or abs(owned.mean()) < 1e-6
    assert np.isnan(found.returns[Level.LOW]).all(), "only the head it is measured against is trained"


def test_flat_gae_agrees_with_the_equation_over_trajectories_and_truncation() -> None:
    batch = make_batch([[True, False, True], [False, False]], 7)
    found = estimate_gae(batch, GaeConfig(gamma=0.9, lam=0.8, whiten=False)).raw[Level.LOW]
    for own in (slice(0, 3), slice(3, 5)):
        close(found[own], slow_gae(batch.reward[own], batch.v_switch[own], 0.9, 0.8))
    cut = replace(batch, terminated=[False] * 5, truncated=[False, False, True, False, True])
    shifted = estimate_gae(cut, GaeConfig(gamma=0.9, lam=0.8, whiten=False)).raw[Level.LOW]
    assert shifted[4] == pytest.approx(found[4] + 0.9 * batch.truncation_value[4])


@pytest.mark.parametrize(
    ("column", "config"),
    [("v_low", PLAIN), ("v_switch", PLAIN), ("reward", PLAIN), ("switch_probability", replace(PLAIN, mode="paper"))],
)
def test_a_missing_number_is_named_with_its_place(column: str, config: HaeConfig) -> None:
    batch = make_batch([[True, True]])
    broken = replace(batch, **{column: [0.5, np.nan]})
    with pytest.raises(DataError, match=rf"{column} is missing at row 1 \(trajectory 0, turn 1\)"):
        estimate_hae(broken, config)


@pytest.mark.parametrize("column", ["reward", "v_low", "v_high", "v_switch", "truncation_value", "previous_v_low"])
@pytest.mark.parametrize("number", [np.inf, -np.inf])
def test_an_infinite_number_is_refused_in_every_column(column: str, number: float) -> None:
    batch = make_batch([[True], [True]])
    with pytest.raises(TurnError, match=rf"{column} is infinite at row 1 \(trajectory 1, turn 0\)") as refused:
        replace(batch, **{column: [0.5, number]})
    assert str(refused.value.of("a/b", 4)).startswith(f"trajectory a/b, turn 4: {column} is infinite")


def test_high_values_off_boundaries_are_not_asked_for() -> None:
    batch = make_batch([[True, False]], 2)
    holed = replace(batch, v_high=[batch.v_high[0], np.nan])
    for level in Level:
        close(estimate_hae(holed, PLAIN).raw[level], estimate_hae(batch, PLAIN).raw[level])


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"lam_seg is 1\.5"):
        HaeConfig(lam_seg=1.5)
    with pytest.raises(ConfigError, match="gamma"):
        GaeConfig(gamma=-0.1)
    with pytest.raises(ConfigError, match="compat"):
        HaeConfig(mode="exact")
    assert HaeConfig(mode="paper").mode is HaeMode.PAPER


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="reward"):
        replace(make_batch([[True, False]]), reward=[1.0])


@given(st.lists(st.tuples(st.floats(-5, 5), st.sampled_from([0.0, 1e-200, 0.5, 1.0])), max_size=70))
def test_scan_solves_the_recursion(pairs) -> None:
    x, expected = 0.0, []
    for gain, decay in reversed(pairs):
        x = gain + decay * x
        expected.append(x)
    found = reverse_scan(np.array([gain for gain, _ in pairs]), np.array([decay for _, decay in pairs]))
    close(found, expected[::-1])
