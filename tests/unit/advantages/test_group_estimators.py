"""Group-relative estimators: against their equations written out slowly, their reductions, what must not matter."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import mean, stdev

import numpy as np
import pytest
from advantage_batches import SHARES, batches, make_batch, rows_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.gigpo import GigpoConfig, estimate_gigpo
from hiper.advantages.groups import GroupNorm, labels, mean_of_others, relative
from hiper.advantages.grpo import GrpoConfig, estimate_grpo
from hiper.advantages.hae import HaeConfig, estimate_hae
from hiper.advantages.hae_gigpo import HaeGigpoConfig, estimate_hae_gigpo
from hiper.advantages.hae_group import HaeGroupConfig, estimate_hae_group
from hiper.advantages.reinforce_pp import ReinforcePpConfig, estimate_reinforce_pp
from hiper.advantages.rloo import RlooConfig, estimate_rloo
from hiper.errors import ConfigError, DataError
from hiper.vocabulary import Level

Estimate = Callable[[TurnBatch], TurnAdvantages]
NORMS = st.sampled_from(GroupNorm)

AGAINST_A_GROUP: dict[str, Estimate] = {
    "grpo": lambda batch: estimate_grpo(batch, GrpoConfig()),
    "grpo-mean": lambda batch: estimate_grpo(batch, GrpoConfig(norm=GroupNorm.MEAN)),
    "rloo": lambda batch: estimate_rloo(batch, RlooConfig()),
    "gigpo": lambda batch: estimate_gigpo(batch, GigpoConfig(gamma=1.0)),
    "gigpo-mean": lambda batch: estimate_gigpo(batch, GigpoConfig(gamma=1.0, norm=GroupNorm.MEAN)),
    "hae_group": lambda batch: estimate_hae_group(batch, HaeGroupConfig(whiten=False)),
    "hae_gigpo": lambda batch: estimate_hae_gigpo(batch, HaeGigpoConfig(gamma=1.0, critic_free=True, whiten=False)),
}
EVERY: dict[str, Estimate] = AGAINST_A_GROUP | {
    "reinforce++": lambda batch: estimate_reinforce_pp(batch, ReinforcePpConfig()),
    "hae_gigpo-critic": lambda batch: estimate_hae_gigpo(batch, HaeGigpoConfig(whiten=False)),
}
against_a_group = pytest.mark.parametrize("estimate", AGAINST_A_GROUP.values(), ids=AGAINST_A_GROUP)
every = pytest.mark.parametrize("estimate", EVERY.values(), ids=EVERY)
few = settings(max_examples=25)
"""For what is tried on many estimators."""


LONG = make_batch([[True] + [False] * (turns - 1) for turns in (6, 7, 11)], group=np.zeros(24, dtype=int))


def close(found, expected) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-9, rtol=1e-9)


class Slow:
    """Every quantity by its definition, with dictionaries and loops."""

    def __init__(self, batch: TurnBatch, gamma: float = 1.0) -> None:
        self.batch = batch
        self.rows: dict[int, list[int]] = defaultdict(list)
        for row in sorted(range(len(batch)), key=lambda row: batch.turn[row]):
            self.rows[int(batch.trajectory[row])].append(row)
        self.to_go: dict[int, float] = {}
        for rows in self.rows.values():
            following = 0.0
            for row in reversed(rows):
                following = self.to_go[row] = float(batch.reward[row]) + gamma * following
        self.returns = {one: sum(float(batch.reward[row]) for row in rows) for one, rows in self.rows.items()}

    def group(self, trajectory: int) -> int:
        return int(self.batch.group[self.rows[trajectory][0]])

    def fellows(self, trajectory: int) -> list[int]:
        return [one for one in self.rows if self.group(one) == self.group(trajectory)]

    def episode(self, trajectory: int, norm: GroupNorm) -> float:
        return against(self.returns[trajectory], [self.returns[one] for one in self.fellows(trajectory)], norm)

    def step(self, row: int, norm: GroupNorm, values: dict[int, float]) -> float:
        anchor = self.batch.anchor[row]
        if anchor < 0:
            return 0.0
        here = self.group(int(self.batch.trajectory[row]))
        met = [
            values[other]
            for one in self.rows
            for other in self.rows[one]
            if self.group(one) == here and self.batch.anchor[other] == anchor
        ]
        return against(values[row], met, norm)

    def runs(self, trajectory: int, *, decided: bool) -> list[list[int]]:
        """The rows of a trajectory by segment; `decided`: by the segment that was in force before the decision."""
        found: list[list[int]] = [[]]
        for i, row in enumerate(self.rows[trajectory]):
            starts = (
                i == 1 or (i > 1 and self.batch.switch[self.rows[trajectory][i - 1]])
                if decided
                else (i > 0 and self.batch.switch[row])
            )
            if starts:
                found.append([])
            found[-1].append(row)
        return found

    def over_peers(self, trajectory: int, row: int, *, decided: bool, boundary: bool) -> float:
        """G of `row` less the mean vote of the others; 0 without others."""
        own = self.runs(trajectory, decided=decided)
        number = next(k for k, run in enumerate(own) if row in run)
        votes = []
        for other in self.fellows(trajectory):
            theirs = self.runs(other, decided=decided)
            if other != trajectory and number < len(theirs):
                votes.append(mean(self.to_go[one] for one in theirs[number][: 1 if boundary else None]))
        return self.to_go[row] - mean(votes) if votes else 0.0


def against(value: float, values: list[float], norm: GroupNorm) -> float:
    if len(values) == 1:
        return 0.0
    centred = value - mean(values)
    return centred if norm is GroupNorm.MEAN else centred / (stdev(values) + 1e-6)


def check(found: TurnAdvantages, batch: TurnBatch, expected: dict[Level, dict[int, float]]) -> None:
    owns = {
        Level.LOW: batch.has_action_tokens,
        Level.HIGH: batch.has_subgoal_tokens & found.boundary,
        Level.SWITCH: batch.has_switch_tokens,
    }
    for level in Level:
        column = [expected[level][row] if owns[level][row] else np.nan for row in range(len(batch))]
        close(found.raw[level], column)


def one_for_all(values: dict[int, float]) -> dict[Level, dict[int, float]]:
    return dict.fromkeys(Level, values)


@given(batches(), NORMS)
def test_grpo_and_rloo_are_their_equations(batch, norm) -> None:
    slow = Slow(batch)
    grpo, rloo = {}, {}
    for one, rows in slow.rows.items():
        others = [slow.returns[other] for other in slow.fellows(one) if other != one]
        for row in rows:
            grpo[row] = slow.episode(one, norm)
            rloo[row] = slow.returns[one] - mean(others) if others else 0.0
    found = estimate_grpo(batch, GrpoConfig(norm=norm))
    check(found, batch, one_for_all(grpo))
    for level in Level:
        close(found.advantages[level], found.raw[level])
        assert np.isnan(found.returns[level]).all(), "there is no critic to train"
    check(estimate_rloo(batch, RlooConfig()), batch, one_for_all(rloo))


@given(batches(), SHARES)
def test_reinforce_pp_is_its_equation(batch, gamma) -> None:
    slow = Slow(batch, gamma)
    found = estimate_reinforce_pp(batch, ReinforcePpConfig(gamma=gamma))
    check(found, batch, one_for_all(slow.to_go))
    in_loss = [row for row in range(len(batch)) if not all(np.isnan(found.raw[level][row]) for level in Level)]
    to_go = np.array([slow.to_go[row] for row in in_loss])
    for level in Level:
        for row, value in zip(in_loss, to_go, strict=True):
            if not np.isnan(found.advantages[level][row]):
                expected = (value - to_go.mean()) / (to_go.std() + 1e-8)
                assert found.advantages[level][row] == pytest.approx(expected, abs=1e-6)


@given(batches(), NORMS, SHARES, st.sampled_from([0.0, 0.5, 1.0]))
def test_gigpo_is_its_equations(batch, norm, gamma, weight) -> None:
    slow = Slow(batch, gamma)
    expected = {
        row: slow.episode(one, norm) + weight * slow.step(row, norm, slow.to_go)
        for one, rows in slow.rows.items()
        for row in rows
    }
    found = estimate_gigpo(batch, GigpoConfig(gamma=gamma, step_weight=weight, norm=norm))
    check(found, batch, one_for_all(expected))


@given(batches(), SHARES)
def test_hae_group_is_its_equations(batch, gamma) -> None:
    slow = Slow(batch, gamma)
    expected: dict[Level, dict[int, float]] = {level: {} for level in Level}
    for one, rows in slow.rows.items():
        for row in rows:
            expected[Level.LOW][row] = slow.over_peers(one, row, decided=False, boundary=False)
            expected[Level.HIGH][row] = slow.over_peers(one, row, decided=False, boundary=True)
            expected[Level.SWITCH][row] = slow.over_peers(one, row, decided=True, boundary=False)
    check(estimate_hae_group(batch, HaeGroupConfig(gamma=gamma, whiten=False)), batch, expected)


@given(batches(), SHARES, SHARES, st.booleans())
def test_hae_gigpo_is_its_equation(batch, gamma, lam_seg, critic_free) -> None:
    config = HaeGigpoConfig(gamma=gamma, lam_seg=lam_seg, step_weight=0.5, critic_free=critic_free, whiten=False)
    found = estimate_hae_gigpo(batch, config)
    everyone = np.ones(len(batch), dtype=bool)
    owning = replace(batch, has_action_tokens=everyone, has_subgoal_tokens=everyone, has_switch_tokens=everyone)
    slow = Slow(batch, gamma)
    if critic_free:
        above = estimate_hae_group(owning, HaeGroupConfig(gamma=gamma, whiten=False))
        gain = slow.to_go
    else:
        above = estimate_hae(owning, HaeConfig(gamma=gamma, lam_seg=lam_seg, whiten=False))
        gain = dict(enumerate(above.returns[Level.SWITCH].tolist()))
        for level in (Level.HIGH, Level.SWITCH):
            close(found.returns[level], above.returns[level])
    assert np.isnan(found.returns[Level.LOW]).all(), "the low head is not used"
    expected: dict[Level, dict[int, float]] = {
        level: dict(enumerate(above.raw[level].tolist())) for level in (Level.HIGH, Level.SWITCH)
    }
    expected[Level.LOW] = {}
    for one in slow.rows:
        for run in slow.runs(one, decided=False):
            for row in run:
                step = slow.step(row, GroupNorm.MEAN, gain)
                expected[Level.LOW][row] = expected[Level.HIGH][run[0]] + 0.5 * step
    check(found, batch, expected)


def test_hae_gigpo_does_not_ask_for_the_low_head() -> None:
    batch = make_batch([[True, False], [True]])
    headless = replace(batch, v_low=[np.nan] * 3)
    for level in Level:
        close(
            estimate_hae_gigpo(headless, HaeGigpoConfig()).raw[level],
            estimate_hae_gigpo(batch, HaeGigpoConfig()).raw[level],
        )


@every
@few
@given(batch=batches(), random=st.randoms(use_true_random=False))
def test_row_order_names_and_copies_do_not_matter(estimate: Estimate, batch, random) -> None:
    order = list(range(len(batch)))
    random.shuffle(order)
    copies = [row for row in order if random.random() < 0.3]
    moved = rows_of(batch, order + copies)
    # What a copy holds must not count either, nor what groups, observations and trajectories are numbered by.
    reward = moved.reward.copy()
    reward[len(order) :] = 1e6
    moved = replace(
        moved,
        reward=reward,
        turn=moved.turn * 7 + 100,
        trajectory=5 - moved.trajectory * 3,
        group=10**15 - moved.group,
        anchor=np.where(moved.anchor < 0, -9, 2**62 - moved.anchor),
    )
    plain, found = estimate(batch), estimate(moved)
    for level in Level:
        close(found.advantages[level][: len(order)], plain.advantages[level][order])
        assert np.isnan(found.advantages[level][len(order) :]).all()


@against_a_group
@few
@given(batch=batches())
def test_an_episode_alone_with_its_task_has_advantage_0(estimate: Estimate, batch) -> None:
    alone = replace(batch, group=batch.trajectory, anchor=np.arange(len(batch)))
    for column in estimate(alone).raw.values():
        assert (column[~np.isnan(column)] == 0).all()


@against_a_group
@few
@example(batch=LONG, number=0.1)  # 0.1 six times is not 0.6
@given(batch=batches(), number=st.floats(-1e6, 1e6))
def test_equal_episodes_have_advantage_0(estimate: Estimate, batch, number) -> None:
    last = np.append(batch.trajectory[1:] != batch.trajectory[:-1], True)
    equal = replace(batch, reward=np.where(last, number, 0.0))
    for column in estimate(equal).raw.values():
        assert (column[~np.isnan(column)] == 0).all()


@against_a_group
@few
@given(batch=batches(), constant=st.floats(-100, 100))
def test_a_constant_added_to_every_return_of_a_group_changes_nothing(estimate: Estimate, batch, constant) -> None:
    last = np.append(batch.trajectory[1:] != batch.trajectory[:-1], True)
    raised = replace(batch, reward=batch.reward + constant * (last & (batch.group == 0)))
    for level in Level:
        np.testing.assert_allclose(estimate(raised).raw[level], estimate(batch).raw[level], atol=1e-6)


@against_a_group
@few
@given(batch=batches())
def test_groups_do_not_see_each_other(estimate: Estimate, batch) -> None:
    other = replace(batch, reward=np.where(batch.group == 0, batch.reward, 7 * batch.reward - 3))
    kept = batch.group == 0
    for level in Level:
        close(estimate(other).raw[level][kept], estimate(batch).raw[level][kept])


@given(batches())
def test_rloo_is_grpo_without_std_but_for_a_factor_of_the_group_size(batch) -> None:
    sizes = {group: len(set(batch.trajectory[batch.group == group])) for group in (0, 1)}
    factor = np.array([sizes[group] / max(1, sizes[group] - 1) for group in batch.group])
    grpo, rloo = estimate_grpo(batch, GrpoConfig(norm=GroupNorm.MEAN)), estimate_rloo(batch, RlooConfig())
    for level in Level:
        close(rloo.raw[level], factor * grpo.raw[level])


@given(batches(), NORMS)
def test_gigpo_is_grpo_where_nobody_meets(batch, norm) -> None:
    for changed, config in (
        (batch, GigpoConfig(step_weight=0.0, norm=norm)),
        (replace(batch, anchor=np.arange(len(batch))), GigpoConfig(norm=norm)),
        (replace(batch, anchor=np.full(len(batch), -1)), GigpoConfig(norm=norm)),
    ):
        for level in Level:
            close(estimate_gigpo(changed, config).raw[level], estimate_grpo(batch, GrpoConfig(norm=norm)).raw[level])


@given(batches())
def test_with_one_segment_and_a_last_reward_hae_group_is_rloo(batch) -> None:
    last = np.append(batch.trajectory[1:] != batch.trajectory[:-1], True)
    single = replace(batch, switch=np.zeros(len(batch), dtype=bool), reward=batch.reward * last)
    found, rloo = estimate_hae_group(single, HaeGroupConfig(whiten=False)), estimate_rloo(single, RlooConfig())
    for level in (Level.LOW, Level.HIGH):
        close(found.raw[level], rloo.raw[level])
    # Later decisions are compared with those of episodes that lasted long enough to take any.
    first = batch.turn == 0
    close(found.raw[Level.SWITCH][first], rloo.raw[Level.SWITCH][first])


@given(batches())
def test_at_the_first_boundary_hae_group_is_rloo_whatever_comes_later(batch) -> None:
    found, rloo = estimate_hae_group(batch, HaeGroupConfig(whiten=False)), estimate_rloo(batch, RlooConfig())
    first = batch.turn == 0
    close(found.raw[Level.HIGH][first], rloo.raw[Level.HIGH][first])


@given(batches(), SHARES)
def test_with_a_switch_on_every_turn_the_levels_of_hae_group_are_one(batch, gamma) -> None:
    everyone = np.ones(len(batch), dtype=bool)
    always = replace(
        batch, switch=everyone, has_action_tokens=everyone, has_subgoal_tokens=everyone, has_switch_tokens=everyone
    )
    found = estimate_hae_group(always, HaeGroupConfig(gamma=gamma, whiten=False))
    close(found.raw[Level.LOW], found.raw[Level.HIGH])
    close(found.raw[Level.SWITCH], found.raw[Level.HIGH])


@given(batches())
def test_with_one_segment_critic_free_hae_gigpo_is_rloo_plus_the_step_part_of_gigpo(batch) -> None:
    single = replace(batch, switch=np.zeros(len(batch), dtype=bool))
    found = estimate_hae_gigpo(single, HaeGigpoConfig(gamma=1.0, step_weight=0.5, critic_free=True, whiten=False))
    with_step, without = (
        estimate_gigpo(single, GigpoConfig(gamma=1.0, step_weight=weight, norm=GroupNorm.MEAN)).raw[Level.LOW]
        for weight in (0.5, 0.0)
    )
    close(found.raw[Level.LOW], estimate_rloo(single, RlooConfig()).raw[Level.LOW] + with_step - without)


@every
def test_a_missing_reward_is_named_with_its_place(estimate: Estimate) -> None:
    batch = replace(make_batch([[True, True]]), reward=[0.5, np.nan])
    with pytest.raises(DataError, match=r"reward is missing at row 1 \(trajectory 0, turn 1\)"):
        estimate(batch)


@against_a_group
def test_a_batch_without_groups_is_refused(estimate: Estimate) -> None:
    with pytest.raises(DataError, match=r"(grpo|rloo|gigpo|hae_group) needs the column `group`"):
        estimate(replace(make_batch([[True]]), group=None))


def test_a_batch_without_anchors_and_a_group_that_changes_on_the_way_are_refused() -> None:
    batch = make_batch([[True, False]])
    with pytest.raises(DataError, match="gigpo needs the column `anchor`"):
        estimate_gigpo(replace(batch, anchor=None), GigpoConfig())
    with pytest.raises(DataError, match=r"group is not that of .* at row 1 \(trajectory 0, turn 1\)"):
        estimate_rloo(replace(batch, group=[3, 4]), RlooConfig())


@every
def test_an_empty_batch_is_no_failure(estimate: Estimate) -> None:
    empty = rows_of(make_batch([[True]]), np.zeros(0, dtype=np.int64))
    assert all(len(column) == 0 for column in estimate(empty).advantages.values())


@pytest.mark.parametrize(
    "make",
    [
        partial(GrpoConfig, norm="median"),
        partial(GigpoConfig, norm="std"),
        partial(GigpoConfig, step_weight=-1.0),
        partial(GigpoConfig, gamma=1.5),
        partial(ReinforcePpConfig, gamma=-0.1),
        partial(HaeGroupConfig, gamma=2.0),
        partial(HaeGigpoConfig, lam_seg=1.01),
        partial(HaeGigpoConfig, step_weight=float("nan")),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(make) -> None:
    with pytest.raises(ConfigError):
        make()
    assert GigpoConfig(norm="mean").norm is GroupNorm.MEAN


def test_comparison_is_exact_where_rounding_would_show() -> None:
    group = labels(np.array([7, 7, 7, -2]))
    large = np.full(4, 1e9 + 0.1)
    assert (relative(large, group, GroupNorm.MEAN_STD) == 0).all()
    assert mean_of_others(large, group)[:3].tolist() == large[:3].tolist()
    assert np.isnan(mean_of_others(large, group)[3])
