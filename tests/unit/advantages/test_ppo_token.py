"""Token-level GAE: against the equation, token by token, and flat GAE as its special case."""

from dataclasses import replace

import numpy as np
import pytest
from advantage_batches import SHARES, batches, make_batch, rows_of
from hypothesis import given
from hypothesis import strategies as st

from hiper.advantages.batch import TurnBatch
from hiper.advantages.gae import GaeConfig, estimate_gae
from hiper.advantages.ppo_token import PpoTokenConfig, SampledTokens, estimate_ppo_token
from hiper.errors import ConfigError, DataError
from hiper.vocabulary import Level

PLAIN = PpoTokenConfig(whiten=False)


def close(found, expected) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-9, rtol=1e-9)


def made_tokens(batch: TurnBatch, seed: int, most: int = 4) -> SampledTokens:
    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(len(batch)), rng.integers(1, most + 1, len(batch)))
    return SampledTokens(row=row, value=rng.normal(size=len(row)), in_loss=rng.random(len(row)) < 0.7)


def slow_ppo_token(batch: TurnBatch, tokens: SampledTokens, config: PpoTokenConfig) -> np.ndarray:
    advantages = np.full(len(tokens), np.nan)
    for trajectory in set(batch.trajectory.tolist()):
        rows = sorted(np.flatnonzero(batch.trajectory == trajectory).tolist(), key=lambda row: batch.turn[row])
        advantage, following = 0.0, 0.0
        if batch.truncated[rows[-1]]:
            following = float(batch.truncation_value[rows[-1]])
        for row in reversed(rows):
            own = np.flatnonzero(tokens.row == row).tolist()
            for token in reversed(own):
                ends = token == own[-1]
                discount = config.gamma * (not batch.terminated[row]) if ends else 1.0
                reward = float(batch.reward[row]) if ends else 0.0
                delta = reward + discount * following - float(tokens.value[token])
                advantage = advantages[token] = delta + discount * config.lam * advantage
                following = float(tokens.value[token])
    return advantages


@given(batches(), st.integers(0, 2**32 - 1), SHARES, SHARES)
def test_agrees_with_the_equation(batch, seed, gamma, lam) -> None:
    tokens, config = made_tokens(batch, seed), PpoTokenConfig(gamma=gamma, lam=lam, whiten=False)
    found, expected = estimate_ppo_token(batch, tokens, config), slow_ppo_token(batch, tokens, config)
    close(found.raw, np.where(tokens.in_loss, expected, np.nan))
    close(found.advantages, found.raw)
    close(found.returns, expected + tokens.value)


@given(batches(), SHARES, SHARES)
def test_with_one_token_a_turn_it_is_flat_gae(batch, gamma, lam) -> None:
    everyone = np.ones(len(batch), dtype=bool)
    tokens = SampledTokens(row=np.arange(len(batch)), value=batch.v_switch, in_loss=batch.has_action_tokens)
    found = estimate_ppo_token(batch, tokens, PpoTokenConfig(gamma=gamma, lam=lam, whiten=False))
    flat = estimate_gae(replace(batch, has_action_tokens=everyone), GaeConfig(gamma=gamma, lam=lam, whiten=False))
    close(found.raw, np.where(tokens.in_loss, flat.raw[Level.LOW], np.nan))
    close(found.returns, flat.returns[Level.SWITCH])


@given(batches(), st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_row_order_and_copies_do_not_matter(batch, seed, random) -> None:
    tokens = made_tokens(batch, seed)
    order = list(range(len(batch)))
    random.shuffle(order)
    chosen = order + [row for row in order if random.random() < 0.3]
    owners = [np.flatnonzero(tokens.row == row) for row in chosen]
    at = np.concatenate(owners)
    row = np.repeat(np.arange(len(chosen)), [len(own) for own in owners])
    moved = SampledTokens(row=row, value=tokens.value[at], in_loss=tokens.in_loss[at])
    plain, found = (
        estimate_ppo_token(batch, tokens, PpoTokenConfig()),
        estimate_ppo_token(rows_of(batch, chosen), moved, PpoTokenConfig()),
    )
    originals = row < len(order)
    close(found.advantages[originals], plain.advantages[at][originals])
    assert np.isnan(found.returns[~originals]).all()


def test_whitening_is_over_the_tokens_in_the_loss() -> None:
    batch = make_batch([[True, False, True], [False, True]], 5)
    tokens = made_tokens(batch, 1, most=9)
    found = estimate_ppo_token(batch, tokens, PpoTokenConfig(lam=0.9))
    trained = found.advantages[tokens.in_loss]
    assert np.isnan(found.advantages[~tokens.in_loss]).all()
    assert (trained.mean(), trained.std()) == (pytest.approx(0, abs=1e-9), pytest.approx(1, abs=1e-6))


def test_what_has_no_place_in_a_chain_of_tokens_is_refused() -> None:
    batch = make_batch([[True, False]])
    silent = SampledTokens(row=[0], value=[0.5], in_loss=[True])
    with pytest.raises(DataError, match=r"response is empty at row 1 \(trajectory 0, turn 1\)"):
        estimate_ppo_token(batch, silent, PLAIN)
    unread = SampledTokens(row=[0, 1, 1], value=[0.5, 0.5, np.nan], in_loss=[True] * 3)
    with pytest.raises(DataError, match=r"token's value is missing at row 1"):
        estimate_ppo_token(batch, unread, PLAIN)
    with pytest.raises(ConfigError, match="ppo_token lam"):
        PpoTokenConfig(lam=1.1)
