"""Prompts of a shop: pages and actions as a model has to read and write them."""

import pytest

from hiper.config.sections import ChatPrompt, CompactPrompt
from hiper.plan_execute import PromptInput, make_builder, parse_response, render_response, task_of
from hiper.vocabulary import EnvName, Switch

TASK = "Find me a red lamp with size: 1 [SEP]arate, and price lower than 30.00 dollars"
START = PromptInput(TASK, f"WebShop [SEP] Instruction: [SEP] {TASK} [SEP] Search", ("search",), None, search_bar=True)
ITEM = PromptInput(
    task=TASK,
    observation=f"Instruction: [SEP] {TASK} [SEP] Back to Search [SEP] < Prev [SEP] size [SEP]  [SEP] Red Lamp",
    admissible=("back to search", "< prev", "buy now", "10 inch"),
    subgoal="find a red lamp",
    history=((START.observation, "search[red lamp]"),),
    step=1,
    search_bar=False,
)


@pytest.mark.parametrize(
    "page", [START.observation, f"WebShop\nInstruction: \n{TASK}\n[button] Search [button_]\n"], ids=["text", "rich"]
)
def test_the_task_is_the_instruction_on_the_start_page(page: str) -> None:
    assert task_of(page) == TASK


def test_the_search_is_offered_with_a_placeholder_where_there_is_a_search_bar() -> None:
    prompt = make_builder(ChatPrompt(), EnvName.WEBSHOP).build(START)
    assert "'search[<your query>]'" in prompt
    assert "your own words for <your query>" in prompt
    assert "click[" not in prompt
    assert TASK in prompt


def test_clicks_are_offered_as_they_are_played() -> None:
    prompt = make_builder(ChatPrompt(), EnvName.WEBSHOP).build(ITEM)
    assert "'click[back to search]'\n'click[< prev]'\n'click[buy now]'\n'click[10 inch]'" in prompt
    assert "<your query>" not in prompt


def test_fields_are_quoted_and_the_instruction_is_shown_once() -> None:
    prompt = make_builder(ChatPrompt(), EnvName.WEBSHOP).build(ITEM)
    assert "'Back to Search' [SEP] '< Prev' [SEP] 'size' [SEP] '' [SEP] 'Red Lamp'\n" in prompt
    assert prompt.count(TASK) == 1
    assert "[observation 1: ''Search'', action 1: 'search[red lamp]']" in prompt


def test_pages_of_the_rich_mode_are_shown_as_they_are() -> None:
    page = "Instruction:\nFind it\n[button] < Prev [button_]\n"
    shown = PromptInput("Find it", page, ("< prev",), None, search_bar=False)
    assert page in make_builder(ChatPrompt(), EnvName.WEBSHOP).build(shown)


def test_the_compact_prompt_writes_the_same_actions() -> None:
    builder = make_builder(CompactPrompt(), EnvName.WEBSHOP)
    assert "|acts search[<your query>] |goal none" in builder.build(START)
    assert "|acts click[back to search] click[< prev] click[buy now] click[10 inch] |goal" in builder.build(ITEM)


@pytest.mark.parametrize("action", ["search[red lamp]", "click[< prev]", "click[10 inch]"])
def test_shop_actions_survive_the_response(action: str) -> None:
    assert parse_response([render_response(Switch.SWITCH, "find a red lamp", action)]).action == action
