"""The tiny tokenizer: canonical responses survive, decoding is concatenation, ids depend on the set of texts only."""

from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="the learner's packages are not installed")

from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hiper.config.sections import WarmstartSettings
from services.learner.tiny_model import build_model, save_model
from services.learner.tiny_tokenizer import build_tokenizer

TEXTS = (
    "You are in the middle of a room. Looking quickly around you, you see a cabinet 2, a cabinet 1, and a fridge 1.",
    "Your task is to: put a hot apple in countertop.",
    "You arrive at fridge 1. The fridge 1 is open. In it, you see a apple 1, and a egg 12.",
    "take apple 1 from fridge 1 go to cabinet 1 heat apple 1 with microwave 1 move egg 12 to countertop 1",
    "find apple put egg in countertop use desklamp 1",
)
ACTIONS = (
    "go to cabinet 1",
    "take apple 1 from fridge 1",
    "heat apple 1 with microwave 1",
    "move egg 12 to countertop 1",
)
SUBGOALS = ("find apple", "take apple 1", "put egg in countertop", "")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(TEXTS, max_length=128)


def _response(switch: str, subgoal: str, action: str, gap: str = "") -> str:
    blocks = (("switch", switch), ("subgoal", subgoal), ("action", action))
    return gap.join(f"<{tag}>{gap}{text}{gap}</{tag}>" for tag, text in blocks)


@pytest.mark.parametrize("gap", ["", " ", "\n"])
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("subgoal", SUBGOALS)
def test_a_response_has_one_canonical_form(
    tokenizer: PreTrainedTokenizerFast, subgoal: str, action: str, gap: str
) -> None:
    ids = tokenizer.encode(_response("SWITCH", subgoal, action, gap))
    blank = " " if subgoal else ""
    canonical = f"<switch> SWITCH</switch><subgoal>{blank}{subgoal}</subgoal><action> {action}</action>"
    assert tokenizer.decode(ids) == canonical
    assert tokenizer.encode(canonical) == ids
    assert tokenizer.unk_token_id not in ids


def test_things_phrases_tags_and_decisions_are_single_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    for text in ("fridge 1", "egg 12", "go to", "You arrive at", "<switch>", "</subgoal>", "KEEP", "SWITCH"):
        assert len(tokenizer.encode(text)) == 1, text


def test_articles_and_punctuation_vanish(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.encode("you see a apple 1, and a egg 12.") == tokenizer.encode("you see apple 1 egg 12")


@given(data=st.data())
def test_decoding_a_sequence_is_decoding_its_tokens(data: st.DataObject) -> None:
    tokenizer = build_tokenizer(TEXTS, max_length=128)
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=30))
    assert tokenizer.decode(ids) == "".join(tokenizer.decode([token]) for token in ids)


def test_ids_depend_on_the_set_of_texts_only(tokenizer: PreTrainedTokenizerFast) -> None:
    other = build_tokenizer((*reversed(TEXTS), TEXTS[0]), max_length=128)
    assert other.get_vocab() == tokenizer.get_vocab()


def test_every_text_it_was_made_of_is_known(tokenizer: PreTrainedTokenizerFast) -> None:
    for text in TEXTS:
        assert tokenizer.unk_token_id not in tokenizer.encode(text)
    assert tokenizer.encode("an unheard word") == [tokenizer.unk_token_id] * 2


def test_it_loads_beside_its_model_as_any_tokenizer_does(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """The model's type must not make transformers prefer a tokenizer class of its own."""
    save_model(build_model(WarmstartSettings(), tokenizer, max_length=128, seed=0), tokenizer, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.eos_token_id == tokenizer.eos_token_id
    for text in (*TEXTS, _response("KEEP", "find apple", ACTIONS[0])):
        ids = tokenizer.encode(text)
        assert loaded.encode(text) == ids
        assert loaded.decode(ids) == tokenizer.decode(ids)
