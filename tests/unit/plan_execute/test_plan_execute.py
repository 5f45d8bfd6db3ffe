"""Prompt, parser and episode state, as the rollout uses them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.config.sections import ChatPrompt, CompactPrompt
from hiper.plan_execute import (
    EpisodeState,
    FormatError,
    PromptInput,
    make_builder,
    parse_response,
    render_response,
    task_of,
)
from hiper.vocabulary import EnvName, Switch

WORDS = st.text("abcdefgh 123", min_size=1).map(str.strip).filter(bool)


def split(text: str, cuts: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in pairwise(edges)]


@given(st.sampled_from(Switch), WORDS, WORDS, st.lists(st.integers(0, 400)))
def test_what_is_rendered_is_read_back_however_it_is_tokenised(switch, subgoal, action, cuts) -> None:
    pieces = split(render_response(switch, subgoal, action), cuts)
    read = parse_response([*pieces, ""])
    assert (read.switch, read.subgoal, read.action, read.valid) == (switch, subgoal, action, True)
    for span, tag in ((read.switch_span, "switch"), (read.subgoal_span, "subgoal"), (read.action_span, "action")):
        covered = "".join(pieces[span.start : span.end])
        assert f"<{tag}>" in covered
        assert f"</{tag}>" in covered
    assert read.value_low_position == read.subgoal_span.end


@given(
    st.lists(
        st.text(max_size=6)
        | st.sampled_from(["<switch>", "</switch>", "<subgoal>", "</subgoal>", "<action>", "</action>"])
    )
)
def test_any_text_is_read_within_its_tokens(pieces) -> None:
    read = parse_response(pieces)
    for span in (read.switch_span, read.subgoal_span, read.action_span):
        assert span is None or span.end <= len(pieces)
    assert read.value_low_position <= max(len(pieces) - 1, 0)
    assert read.action == read.action.strip().lower()


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("<subgoal>s</subgoal><action>look</action>", (FormatError.SWITCH_MISSING,)),
        ("<switch>MAYBE</switch><subgoal>s</subgoal><action>look</action>", (FormatError.SWITCH_ILLEGAL,)),
        ("<switch>KEEP</switch><action>look</action>", (FormatError.SUBGOAL_MISSING,)),
        ("<switch>KEEP</switch><subgoal> </subgoal><action>look</action>", (FormatError.SUBGOAL_MISSING,)),
        ("<switch>KEEP</switch><subgoal>s</subgoal>", (FormatError.ACTION_MISSING,)),
        ("<switch>KEEP</switch><subgoal>找</subgoal><action>look</action>", (FormatError.IDEOGRAPH,)),
    ],
)
def test_malformed_output_is_named_and_never_switches(text: str, errors) -> None:
    read = parse_response([text])
    assert read.errors == errors
    assert read.switch is Switch.KEEP


def test_keep_is_enforced_and_drift_is_seen() -> None:
    state = EpisodeState(keep="enforce", history_turns=1)
    first = state.decide(parse_response([render_response(Switch.KEEP, "find a", "look")]))
    assert (first.subgoal, first.consistent) == ("find a", True), "nothing to keep on the first turn"
    drifted = state.decide(parse_response([render_response(Switch.KEEP, "find b", "look")]))
    assert (drifted.subgoal, drifted.consistent) == ("find a", False)
    switched = state.decide(parse_response([render_response(Switch.SWITCH, "find b", "look")]))
    assert (switched.subgoal, switched.consistent) == ("find b", True)
    trusting = EpisodeState(keep="trust", history_turns=1)
    for subgoal in ("find a", "find b"):
        trusting.decide(parse_response([render_response(Switch.KEEP, subgoal, "look")]))
    assert trusting.subgoal == "find b"


@pytest.mark.parametrize("keep", ["enforce", "trust"])
def test_after_a_response_without_subgoal_there_is_none_to_keep(keep) -> None:
    state = EpisodeState(keep=keep, history_turns=1)
    assert state.decide(parse_response(["<switch>SWITCH</switch><action>look</action>"])).subgoal == ""
    assert state.subgoal is None, "the prompt says None, not an empty sub-goal"
    kept = state.decide(parse_response([render_response(Switch.KEEP, "find a", "look")]))
    assert (kept.subgoal, kept.consistent) == ("find a", True), "a KEEP with nothing to keep is not charged"
    drifted = state.decide(parse_response([render_response(Switch.KEEP, "find b", "look")]))
    assert not drifted.consistent


def test_history_is_bounded() -> None:
    state = EpisodeState(keep="enforce", history_turns=2)
    for turn in range(5):
        state.remember(f"o{turn}", f"a{turn}")
    assert state.history == (("o3", "a3"), ("o4", "a4"))


SHOWN = PromptInput(
    task="put a mug in cabinet.",
    observation="You arrive at shelf 1. On the shelf 1, you see a mug 1.",
    admissible=("examine shelf 1", "go to cabinet 1", "help", "take mug 1 from shelf 1"),
    subgoal="find mug 1",
    history=(("You are in the middle of a room.", "go to shelf 1"),),
    step=1,
)


def test_compact_prompt_hides_what_it_is_told_to_hide() -> None:
    text = make_builder(CompactPrompt(), EnvName.ALFWORLD).build(SHOWN)
    assert "examine" not in text
    assert "take mug 1 from shelf 1" in text
    assert text.index("|hist") < text.index("|obs") < text.index("|acts") < text.index("|goal find mug 1")


def test_chat_prompt_shows_everything_the_method_asks_for() -> None:
    text = make_builder(ChatPrompt(), EnvName.ALFWORLD).build(SHOWN)
    for part in (SHOWN.task, "go to shelf 1", SHOWN.observation, "find mug 1", "'take mug 1 from shelf 1'", "<switch>"):
        assert part in text
    assert "'help'" not in text
    assert "go to shelf 1" not in make_builder(ChatPrompt(), EnvName.ALFWORLD).build(SHOWN.without_oldest())


def test_task_sentence_is_found() -> None:
    assert task_of("Welcome\n\nYour task is to: put a mug in cabinet.") == "put a mug in cabinet."
