"""Settings become estimators; queries become calls within the limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper._proto.critic.v1.critic_service_pb2 import ValueQuery
from hiper.config.sections import GaeEstimator, HaeEstimator, HaeSettings
from hiper.errors import ConfigError
from services.hae.estimators import make_estimator
from services.hae.values import MAX_CALL_BYTES, MAX_CALL_QUERIES, CriticClient, chunks


def test_paper_mode_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="trajectories carry neither"):
        make_estimator(HaeSettings(estimator=HaeEstimator(mode="paper")))


@pytest.mark.parametrize("estimator", [HaeEstimator(), HaeEstimator(mode="compat"), GaeEstimator()])
def test_the_other_estimators_are_made(estimator: HaeEstimator | GaeEstimator) -> None:
    assert callable(make_estimator(HaeSettings(estimator=estimator)))


def test_a_missing_critic_address_is_told() -> None:
    with pytest.raises(ConfigError, match="HIPER_HAE__CRITIC_ADDRESS"):
        CriticClient(HaeSettings())


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
