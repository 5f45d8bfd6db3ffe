"""Settings become estimators; queries become calls within the limits."""

from dataclasses import fields
from typing import get_args

import numpy as np
import pytest
from hand_made import Made, make_task, make_trajectory
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hiper._proto.common.v1.types_pb2 import LevelValues
from hiper._proto.critic.v1.critic_service_pb2 import ValueQuery
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.config.estimators import EstimatorSettings
from hiper.config.sections import HaeSettings
from hiper.errors import ConfigError
from hiper.vocabulary import Level
from services.hae.estimate import estimate
from services.hae.estimators import ESTIMATORS, make_estimator
from services.hae.rows import value_queries
from services.hae.values import MAX_CALL_BYTES, MAX_CALL_QUERIES, CriticReading, chunks, value_source

MODELS = {model.model_fields["name"].default: model for model in get_args(get_args(EstimatorSettings)[0])}
VALUES = LevelValues(low=0.1, high=0.2, switch=0.3)


def settings(name: str, whiten: bool | None = None, **parameters: object) -> HaeSettings:
    tree = {"estimator": {"name": name, **parameters}, "whiten": whiten, "critic_address": "127.0.0.1:1"}
    return HaeSettings.model_validate(tree)


def two_tries() -> list[Trajectory]:
    """One task played twice, won in two turns and lost in one, from the same first observation."""
    won = make_trajectory([Made(switch=True), Made()], task=make_task(0), won=True)
    lost = make_trajectory([Made(switch=True)], task=make_task(1))
    for trajectory, rewards in ((won, [0.0, 1.0]), (lost, [0.0])):
        for turn, reward in zip(trajectory.turns, rewards, strict=True):
            turn.reward, turn.observation = reward, f"room {turn.index}"
    return [won, lost]


def test_every_estimator_of_the_settings_is_made_and_no_other() -> None:
    assert set(ESTIMATORS) == set(MODELS)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_settings_are_fields_of_the_config_with_its_defaults(name: str) -> None:
    make_config, model = ESTIMATORS[name][0], MODELS[name]
    defaults = {field.name: field.default for field in fields(make_config)}
    for key, field in model.model_fields.items():
        if key != "name":
            assert defaults[key] == field.default, key
    assert ("whiten" in defaults) == model.can_whiten


@pytest.mark.parametrize("name", ESTIMATORS)
async def test_every_estimator_computes_advantages_of_trajectories(name: str) -> None:
    chosen, made = settings(name), two_tries()
    needs_critic = chosen.estimator.needs_critic
    queries = value_queries(made)
    reading = CriticReading([VALUES] * 3, 7) if needs_critic else await value_source(chosen).read(queries)
    estimate(made, reading, make_estimator(chosen))
    (first, second), (lost,) = made[0].turns, made[1].turns
    assert first.advantages.low > lost.advantages.low, "of two tries from one observation the better is reinforced"
    assert second.advantages.HasField("switch")
    assert first.is_boundary
    assert [any(turn.returns.HasField(level.value) for level in Level) for turn in (first, lost)] == [needs_critic] * 2


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.can_whiten])
@pytest.mark.parametrize(("whiten", "whitened"), [(None, True), (True, True), (False, False)])
def test_whitening_is_on_unless_it_is_turned_off(name: str, whiten: bool | None, whitened: bool) -> None:
    _, result = estimate(two_tries(), CriticReading([VALUES] * 3, 7), make_estimator(settings(name, whiten)))
    assert np.isclose(np.std(result.advantages[Level.LOW]), 1.0, atol=1e-5) == whitened


def test_whitening_is_refused_where_the_estimator_normalises() -> None:
    with pytest.raises(ValidationError, match="'grpo' has a normalisation of its own"):
        settings("grpo", whiten=True)


def test_who_needs_a_critic_and_who_a_group() -> None:
    needs = {name: (settings(name).estimator.needs_critic, model.needs_group) for name, model in MODELS.items()}
    assert needs == {
        "hae": (True, False),
        "gae": (True, False),
        "grpo": (False, True),
        "rloo": (False, True),
        "reinforce++": (False, False),
        "gigpo": (False, True),
        "hae_group": (False, True),
        "hae_gigpo": (True, True),
    }
    assert not settings("hae_gigpo", critic_free=True).estimator.needs_critic


async def test_without_a_critic_nobody_is_asked() -> None:
    async with value_source(HaeSettings.model_validate({"estimator": {"name": "grpo"}})) as source:
        reading = await source.read([ValueQuery()] * 2)
    assert (list(reading.values), reading.version) == ([LevelValues()] * 2, 0)


def test_a_missing_critic_address_is_told() -> None:
    with pytest.raises(ConfigError, match="HIPER_HAE__CRITIC_ADDRESS"):
        value_source(HaeSettings())


@given(st.lists(st.integers(0, MAX_CALL_BYTES // 3), max_size=12))
def test_calls_hold_every_query_once_within_the_limits(sizes: list[int]) -> None:
    queries = [ValueQuery(prompt_ids=bytes(size)) for size in sizes]
    calls = list(chunks(queries))
    assert [query for call in calls for query in call] == queries
    for call in calls:
        assert 0 < len(call) <= MAX_CALL_QUERIES
        assert sum(query.ByteSize() for query in call) <= MAX_CALL_BYTES


def test_many_small_queries_are_cut_by_number() -> None:
    assert [len(call) for call in chunks([ValueQuery()] * (2 * MAX_CALL_QUERIES + 1))] == [512, 512, 1]
