"""From texts to terms. Every expectation here was given by Lucene 8.3's StandardTokenizer or English analysis."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.envs.webshop.search.analysis import STOP_WORDS, analyze
from hiper.envs.webshop.search.porter import stem
from hiper.envs.webshop.search.words import LONGEST_WORD, character_class, words

CASES = [
    ("description:solid wood", ["description:solid", "wood"]),
    ("don't 3.5-inch, 1,000 pcs.", ["don't", "3.5", "inch", "1,000", "pcs"]),
    ("a.b 1.2 a.1 1.a a,b 1;2 a'b", ["a.b", "1.2", "a", "1", "1", "a", "a", "b", "1;2", "a'b"]),
    ("snake_case _edge_ __ _", ["snake_case", "_edge_"]),
    ("4'' x 6''", ["4", "x", "6"]),
    ("cafe\u0301 na\u00efve", ["cafe\u0301", "na\u00efve"]),
    ("漢字かな", ["漢", "字", "か", "な"]),
    ("カタカナ アa", ["カタカナ", "ア", "a"]),
    ("กขค aก", ["กขค", "a", "ก"]),
    ("한국어", ["한국어"]),
    ("אב\"ג א' א:ב", ['אב"ג', "א'", "א:ב"]),
    ("☀☀️ ★ → ✓", ["☀", "☀\ufe0f", "★"]),
    ("👍🏻👍 😀🏻", ["👍🏻", "👍", "😀", "🏻"]),
    ("👨\u200d👩\u200d👧 ☺\ufe0e", ["👨\u200d👩\u200d👧", "☺"]),
    ("🇩🇪🇫🇷🇮", ["🇩🇪", "🇫🇷"]),
    ("1\ufe0f\u20e3 #\ufe0f\u20e3 # *", ["1\ufe0f\u20e3", "#\ufe0f\u20e3"]),
    ("Ⓜ\ufe0f ℹ™©", ["Ⓜ\ufe0f", "ℹ", "™", "©"]),
    ("a\u00adb\u200bc a\u200db", ["a\u00adb", "c", "a\u200db"]),
    ("\t\n -- !! %", []),
    ("x" * 300, ["x" * 255, "x" * 45]),
    ("1." * 200 + "1", ["1." * 127 + "1", "1." * 72 + "1"]),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_words_are_those_of_lucene(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Women's SHOES for the running girls", ["women", "shoe", "run", "girl"]),
        ("kids’ toy’S dog＇s 's", ["kid", "toi", "dog", "s"]),
        ("This is not an IT", []),
        ("generalizations oscillators", ["gener", "oscil"]),
        ("ΣΟΦΟΣ İ", ["σοφοσ", "i"]),
        ("sky skies happy is.it 12s", ["sky", "ski", "happi", "is.it", "12"]),
    ],
)
def test_terms_are_those_of_lucenes_english_analysis(text: str, terms: list[str]) -> None:
    assert analyze(text) == terms


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *[("caresses", "caress"), ("ponies", "poni"), ("cats", "cat"), ("feed", "feed"), ("agreed", "agre")],
        *[("plastered", "plaster"), ("motoring", "motor"), ("sing", "sing"), ("conflated", "conflat")],
        *[("hopping", "hop"), ("falling", "fall"), ("filing", "file"), ("failing", "fail"), ("sky", "sky")],
        *[("relational", "relat"), ("conformabli", "conform"), ("possibly", "possibl"), ("archaeology", "archaeolog")],
        *[("triplicate", "triplic"), ("formative", "form"), ("goodness", "good"), ("adoption", "adopt")],
        *[("controll", "control"), ("roll", "roll"), ("rate", "rate"), ("cease", "ceas"), ("as", "as"), ("s", "s")],
    ],
)
def test_stems_are_those_of_porter(word: str, expected: str) -> None:
    assert stem(word) == expected


@given(st.text())
def test_words_come_in_order_do_not_overlap_and_are_short(text: str) -> None:
    ends = [0]
    for word in words(text):
        assert 0 < len(word) <= LONGEST_WORD
        ends.append(text.index(word, ends[-1]) + len(word))
    assert all(before < after for before, after in pairwise(ends))


@given(st.lists(st.sampled_from(["red", "don't", "3.5", "漢", "カナ", "👍🏻", "a_b"])))
def test_words_between_blanks_are_found_one_by_one(chosen: list[str]) -> None:
    assert words(" ".join(chosen)) == chosen


@given(st.text(alphabet=st.characters(max_codepoint=0x24F)))
def test_no_term_is_a_stop_word_or_has_capitals(text: str) -> None:
    for term in analyze(text):
        assert term not in STOP_WORDS
        assert term == term.lower()


@pytest.mark.parametrize(
    "text", ["_" * 20_000, "_\u0e31" * 10_000, "z\u200d" * 10_000, "\u200d" * 20_000, "א" * 20_000]
)
def test_hostile_texts_are_cut_up_in_reasonable_time(text: str) -> None:
    assert all(len(word) <= LONGEST_WORD for word in words(text))


def test_character_classes_do_not_depend_on_the_unicode_version_of_python() -> None:
    assert character_class(0x870) == "-", "a letter since Unicode 14; Lucene 8.3 does not know it"
    assert character_class(0x1F600) == "E"
    assert character_class(0x10FFFF) == "-"
    assert character_class(0) == "-"
