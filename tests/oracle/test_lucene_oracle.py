"""Our search against Lucene itself, live: random texts, and random documents of any length with many ties.

Needs `HIPER_WEBSHOP_PYTHON`, an interpreter that has pyserini 0.17 (see README). `ORACLE_SEED` draws others.
"""

import os
import random
from pathlib import Path

import pytest
from running import run_original

from hiper.envs.webshop.search import Document, SearchIndex
from hiper.envs.webshop.search.analysis import analyze

SEED = os.environ.get("ORACLE_SEED", "0")
TEXTS, DOCUMENTS, QUERIES, LIMIT = 50_000, 2_000, 500, 50
# One or two of every class of characters, and what stands between them.
SIGNS = [*"aⓂא1ア漢かก\u0e31_.':,;\"\u0301\u200d\ufe0f\ufe0e\u20e3😀👍🏻🇦🇩#*-’＇éßΣ ", "'s", "ing", "  ", " the "]
LENGTHS = (0, 1, 2, 5, 20, 39, 40, 41, 60, 150, 900)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("HIPER_WEBSHOP_PYTHON" not in os.environ, reason="no Lucene here: see tests/oracle/README.md"),
]


def draw_text(rng: random.Random) -> str:
    few = rng.sample(SIGNS, rng.randint(2, 8))
    length = rng.choice((3, 6, 12, 12, 300)) if rng.random() < 0.02 else rng.randint(1, 9)
    return "".join(rng.choice(few) for _ in range(length))


def draw_character(rng: random.Random) -> str:
    """Any code point that can be in a text, beside letters and digits."""
    code = rng.choice((rng.randrange(0x3000), rng.randrange(0xD800), rng.randrange(0xE000, 0x20000)))
    return f"a{chr(code)}b 1{chr(code)}2 {chr(code)}"


def draw_documents(rng: random.Random) -> list[Document]:
    vocabulary = [f"w{rank}" for rank in range(300)]
    weights = [1 / (1 + rank) for rank in range(300)]
    drawn: list[Document] = []
    for key in rng.sample(range(10**6), DOCUMENTS):
        text = " ".join(rng.choices(vocabulary, weights, k=rng.choice(LENGTHS)))
        drawn.append(Document(f"B{key:06d}", rng.choice(drawn).text if drawn and rng.random() < 0.2 else text))
    return drawn


def test_terms_and_rankings_are_lucenes(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    texts = [draw_character(rng) if rng.random() < 0.5 else draw_text(rng) for _ in range(TEXTS)]
    documents = draw_documents(rng)
    queries = [
        " ".join(f"w{min(299, int(rng.paretovariate(0.5)))}" for _ in range(rng.randint(1, 12))) for _ in range(QUERIES)
    ]
    asked = {"texts": texts, "documents": documents, "queries": queries, "limit": LIMIT}
    answer = run_original("lucene_original.py", tmp_path, asked)
    differing = [
        (text, ours, theirs)
        for text, theirs in zip(texts, answer["terms"], strict=True)
        if (ours := analyze(text)) != theirs and len(text) < 128  # Lucene cuts longer words by UTF-16 units
    ]
    assert differing == []
    index = SearchIndex.build(documents)
    for query, theirs in zip(queries, answer["hits"], strict=True):
        assert [documents[number].key for number in index.search(query, LIMIT)] == theirs, query
