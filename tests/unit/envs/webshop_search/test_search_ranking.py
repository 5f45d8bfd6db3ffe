"""The index against BM25 written down as it is defined, document by document and without an index."""

import math
import random
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiper.envs.webshop.search import Document, Hit, SearchIndex
from hiper.envs.webshop.search.analysis import analyze
from hiper.envs.webshop.search.bm25 import quantise_lengths
from hiper.envs.webshop.search.merging import build_index

F = np.float32
WORDS = ["lamp", "red", "chair", "wood", "b1", "b2", "漢", "the"]
documents = st.lists(st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join), min_size=1, max_size=12).flatmap(
    lambda texts: st.permutations(range(len(texts))).map(lambda keys: _documents(keys, texts))
)
queries = st.lists(st.sampled_from([*WORDS, "absent"]), max_size=6).map(" ".join)


def _documents(keys: list[int], texts: list[str]) -> list[Document]:
    return [Document(f"K{key:03d}", text) for key, text in zip(keys, texts, strict=True)]


def _byte_length(length: int) -> int:
    """What is left of a length that Lucene has put into one byte (`SmallFloat.intToByte4`) and read again."""
    if length < 24:
        return length
    rest = length - 24
    dropped = max(rest.bit_length() - 4, 0)
    return 24 + (rest >> dropped << dropped)


def slow_ranking(collection: list[Document], query: str, limit: int) -> list[tuple[int, float]]:
    terms = [Counter(analyze(document.text)) for document in collection]
    total = sum(bool(held) for held in terms)
    average = F(sum(held.total() for held in terms) / total) if total else F(1)
    found = []
    for number, held in enumerate(terms):
        matching = [term for term in Counter(analyze(query)) if term in held]
        score = 0.0
        for term in matching:
            frequency = sum(term in other for other in terms)
            idf = F(math.log(1 + (total - frequency + 0.5) / (frequency + 0.5)))
            weight = F(analyze(query).count(term)) * idf
            length = F(_byte_length(held.total()))
            inverse = F(1) / (F(0.9) * ((F(1) - F(0.4)) + (F(0.4) * length) / average))
            score += float(weight - weight / (F(1) + F(held[term]) * inverse))
        if matching:
            found.append((number, float(F(score))))
    return sorted(found, key=lambda hit: (-hit[1], collection[hit[0]].key))[:limit]


@given(documents, queries, st.integers(1, 12))
def test_ranking_and_scores_are_bm25s_to_the_last_bit(collection: list[Document], query: str, limit: int) -> None:
    assert SearchIndex.build(collection).hits(query, limit) == slow_ranking(collection, query, limit)


@settings(max_examples=25)
@given(documents, st.integers(1, 40))
def test_the_index_does_not_depend_on_how_it_was_cut_into_runs(collection: list[Document], size: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        whole, cut = Path(name) / "whole", Path(name) / "cut"
        build_index(whole, collection)
        build_index(cut, collection, run_postings=size)
        assert {path.name: path.read_bytes() for path in whole.iterdir()} == {
            path.name: path.read_bytes() for path in cut.iterdir()
        }


@pytest.fixture(scope="module")
def many() -> list[Document]:
    """3,000 documents of words drawn with weights 1, 1/2, 1/3, ...; some twice, so that there are ties."""
    draw = random.Random(7)
    vocabulary = [f"w{rank}" for rank in range(2000)]
    weights = [1 / (1 + rank) for rank in range(2000)]
    texts = [" ".join(draw.choices(vocabulary, weights, k=draw.randint(1, 120))) for _ in range(2500)]
    texts += draw.sample(texts, 500)
    keys = draw.sample(range(10_000), len(texts))
    return [Document(f"B{key:05d}", text) for key, text in zip(keys, texts, strict=True)]


@pytest.fixture(scope="module")
def index(many: list[Document]) -> SearchIndex:
    return SearchIndex.build(many)


@pytest.mark.parametrize("words", [1, 2, 5, 12, 40])
def test_what_is_passed_over_cannot_be_among_the_best(index: SearchIndex, words: int) -> None:
    draw = random.Random(words)
    for _ in range(30):
        ranks = [min(1999, int(draw.paretovariate(0.5))) for _ in range(words)]
        query = " ".join(f"w{rank}" for rank in ranks)
        everything = index.hits(query, len(index))
        for limit in (1, 10, 50):
            assert index.hits(query, limit) == everything[:limit]


def test_the_slow_ranking_agrees_on_long_documents_too(many: list[Document], index: SearchIndex) -> None:
    assert index.hits("w3 w50 w700 w3", 20) == slow_ranking(many, "w3 w50 w700 w3", 20)


def test_equal_scores_are_ordered_by_key_not_by_number() -> None:
    index = SearchIndex.build([Document("B3", "lamp"), Document("B1", "lamp"), Document("B2", "lamp")])
    assert index.search("lamp", 50) == [1, 2, 0]
    assert index.search("lamp", 2) == [1, 2]


@pytest.mark.parametrize("query", ["", " ", "the of and", "absent", "!!"])
def test_nothing_is_found_for_words_that_no_document_has(index: SearchIndex, query: str) -> None:
    assert index.search(query, 50) == []


def test_an_index_of_nothing_finds_nothing() -> None:
    assert SearchIndex.build([]).search("lamp", 50) == []
    assert SearchIndex.build([Document("B1", "")]).search("lamp", 50) == []


def test_documents_without_terms_do_not_count() -> None:
    alone = SearchIndex.build([Document("B1", "red lamp")]).hits("lamp", 1)
    beside = SearchIndex.build([Document("B0", "the of"), Document("B1", "red lamp")]).hits("lamp", 1)
    assert [hit.score for hit in alone] == [hit.score for hit in beside]
    assert beside == [Hit(1, alone[0].score)]


def test_half_a_surrogate_pair_is_searched_like_any_other_sign() -> None:
    index = SearchIndex.build([Document("B1", "lamp \ud800"), Document("B2", "chair")])
    assert index.search("\ud800 lamp", 50) == [0]


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1))
def test_lengths_lose_all_but_four_bits_above_24(lengths: list[int]) -> None:
    assert quantise_lengths(np.array(lengths)).tolist() == [_byte_length(length) for length in lengths]
