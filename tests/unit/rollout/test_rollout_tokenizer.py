"""Real tokenizers, made on the spot: byte-level BPE as Qwen's, and one that marks words by a blank as Llama's."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config

from hiper.config.sections import ChatPrompt, CompactPrompt, ModelSettings
from hiper.errors import DependencyError
from hiper.metrics import render
from hiper.plan_execute import ChatPromptBuilder, CompactPromptBuilder, PromptInput, parse_response, render_response
from hiper.vocabulary import EnvName, Switch
from services.rollout.tokenizer import PromptTooLong, TurnTokenizer, load_tokenizer

CORPUS = ["<switch>KEEP</switch><subgoal>find the apple</subgoal><action>go to fridge 1</action> open the box"] * 3
CHAT = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant:"


def byte_level() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT,
    )


def metaspace() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["</s>"], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


BYTE_LEVEL = byte_level()
COMPACT = CompactPromptBuilder(CompactPrompt())
TURN = TurnTokenizer(BYTE_LEVEL, COMPACT, 300)
SHOWN = PromptInput("open the box", "You see a box.", ("open box",), None)


@given(st.lists(st.integers(0, len(BYTE_LEVEL) - 1), max_size=40))
@settings(max_examples=300, deadline=None)
def test_pieces_of_any_ids_concatenate_to_their_text(ids: list[int]) -> None:
    pieces = TURN.pieces(ids)
    assert len(pieces) == len(ids)
    special = set(BYTE_LEVEL.all_special_ids)
    plain = [token for token in ids if token not in special]
    whole = BYTE_LEVEL.decode(plain, clean_up_tokenization_spaces=False)
    assert "".join(pieces) == whole


@given(st.text(alphabet="aé€😀<>/ \n東", max_size=30))
@settings(max_examples=200, deadline=None)
def test_characters_spread_over_tokens_come_out_whole(text: str) -> None:
    ids = BYTE_LEVEL.encode(text, add_special_tokens=False)
    assert "".join(TURN.pieces(ids)) == text


def test_a_wide_character_belongs_to_its_last_token() -> None:
    ids = BYTE_LEVEL.encode("😀", add_special_tokens=False)
    assert len(ids) == 4
    assert TURN.pieces(ids) == ["", "", "", "😀"]
    assert TURN.pieces([*ids[:2], BYTE_LEVEL.eos_token_id])[-1] == "\ufffd", "a response cut inside a character"


def test_the_end_token_adds_nothing() -> None:
    ids = BYTE_LEVEL.encode("open", add_special_tokens=False)
    assert "".join(TURN.pieces([*ids, BYTE_LEVEL.eos_token_id])) == "open"


def test_blanks_between_words_survive_a_tokenizer_that_hides_the_first() -> None:
    tokenizer = metaspace()
    ids = tokenizer.encode("go to fridge 1", add_special_tokens=False)
    assert len(ids) > 3
    assert "".join(TurnTokenizer(tokenizer, COMPACT, 300).pieces(ids)) == "go to fridge 1"


def test_spans_of_a_parsed_response_cover_their_blocks() -> None:
    text = render_response(Switch.KEEP, "fínd the 😀", "open box")
    ids = BYTE_LEVEL.encode(text, add_special_tokens=False)
    pieces = TURN.pieces(ids)
    parsed = parse_response(pieces)
    assert parsed.valid
    assert parsed.subgoal == "fínd the 😀"
    assert parsed.subgoal_span is not None
    assert "<subgoal>fínd the 😀</subgoal>" in "".join(pieces[parsed.subgoal_span.start : parsed.subgoal_span.end])


def test_a_compact_prompt_is_its_plain_text() -> None:
    ids = TURN.encode(SHOWN)
    assert BYTE_LEVEL.decode(ids) == COMPACT.build(SHOWN)


def test_a_chat_prompt_is_a_user_message_and_opens_the_answer() -> None:
    builder = ChatPromptBuilder(ChatPrompt(), EnvName.ALFWORLD)
    text = BYTE_LEVEL.decode(TurnTokenizer(BYTE_LEVEL, builder, 5000).encode(SHOWN))
    assert text == f"<|im_start|>user\n{builder.build(SHOWN)}<|im_end|>\n<|im_start|>assistant:"


def test_a_saved_tokenizer_is_loaded_as_it_was_whatever_the_model(tmp_path: Path) -> None:
    BYTE_LEVEL.save_pretrained(tmp_path)
    Qwen2Config().save_pretrained(tmp_path)
    loaded = load_tokenizer(ModelSettings(path=str(tmp_path)))
    assert loaded.encode(CORPUS[0]) == BYTE_LEVEL.encode(CORPUS[0])
    assert loaded.eos_token_id == BYTE_LEVEL.eos_token_id


def test_a_model_without_a_tokenizer_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="cannot load the tokenizer"):
        load_tokenizer(ModelSettings(path=str(tmp_path)))


def test_history_is_dropped_oldest_first_until_the_prompt_fits() -> None:
    history = tuple((f"I saw thing {number} " * 4, "look") for number in range(6))
    shown = PromptInput("open the box", "You see a box.", ("open box",), None, history, 6)
    full = len(TurnTokenizer(BYTE_LEVEL, COMPACT, 10**6).encode(shown))
    shorter = TurnTokenizer(BYTE_LEVEL, COMPACT, full - 1).encode(shown)
    text = BYTE_LEVEL.decode(shorter)
    assert len(shorter) < full
    assert "thing 0" not in text
    assert "thing 1" in text
    assert b"hiper_rollout_prompts_shortened_total" in render()


def test_a_prompt_too_long_without_history_is_refused_by_name() -> None:
    with pytest.raises(PromptTooLong, match="max_prompt_tokens"):
        TurnTokenizer(BYTE_LEVEL, COMPACT, 5).encode(SHOWN)
