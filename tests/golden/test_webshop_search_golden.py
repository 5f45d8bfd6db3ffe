"""Search against recordings of the original's Lucene: the order exactly, the scores as far as they were recorded."""

import pytest
from webshop_recordings import NEEDED

from hiper.envs.webshop.catalogue import Catalogue
from hiper.envs.webshop.search import CatalogueSearch, Hit, SearchIndex

pytestmark = NEEDED

_HITS = 50


@pytest.fixture(scope="module")
def index(catalogue: Catalogue) -> SearchIndex:
    return CatalogueSearch(catalogue).index


def _as_recorded(hits: list[Hit]) -> list[float]:
    """Rounded to 4 decimals; of scores that are equal then, each is 1e-6 less than the one before."""
    recorded: list[float] = []
    ties = 0
    for place, hit in enumerate(hits):
        score = round(hit.score, 4)
        ties = ties + 1 if place and score == round(hits[place - 1].score, 4) else 0
        recorded.append(score - ties * 1e-6)
    return recorded


def test_every_recorded_ranking_is_reproduced_in_order(
    index: SearchIndex, catalogue: Catalogue, recorded: dict
) -> None:
    asins = [product.asin for product in catalogue]
    for case in recorded["search_cases"]:
        found = [asins[number] for number in index.search(case["q"], _HITS)]
        assert found == [asin for asin, _ in case["hits"]], case["q"]


def test_every_recorded_score_is_reproduced(index: SearchIndex, recorded: dict) -> None:
    for case in recorded["search_cases"]:
        expected = [score for _, score in case["hits"]]
        assert _as_recorded(index.hits(case["q"], _HITS)) == pytest.approx(expected, abs=1e-5, rel=0), case["q"]


def test_fewer_hits_are_the_first_of_more(index: SearchIndex, recorded: dict) -> None:
    for case in recorded["search_cases"][:20]:
        all_hits = index.search(case["q"], len(index))
        assert len(all_hits) == len(set(all_hits)) >= len(case["hits"])
        for limit in (1, 7, 50):
            assert index.search(case["q"], limit) == all_hits[:limit]
