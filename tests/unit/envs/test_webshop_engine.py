"""One WebShop episode: what actions do, on generated products."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.envs.base import EpisodeOver, StepResult
from hiper.envs.webshop.engine import WebShopEpisode, parse_action
from hiper.envs.webshop.generator import CatalogueSpec
from hiper.envs.webshop.shop import Shop
from hiper.envs.webshop.shopper import walkthrough
from hiper.envs.webshop.synthetic import SyntheticWebShop
from hiper.envs.webshop.text import Observation


@pytest.fixture(scope="module")
def shop() -> Shop:
    return SyntheticWebShop(CatalogueSpec(100)).shop


def goal_with_options(shop: Shop) -> int:
    return next(number for number in range(len(shop.goals)) if len(shop.goals[number].options) > 1)


def play(episode: WebShopEpisode, *actions: str) -> StepResult:
    shown = episode.reset()
    for action in actions:
        shown = episode.step(action)
    return shown


@given(st.text(alphabet="ab[]\n X", max_size=12))
def test_actions_are_read_as_the_original_pattern_reads_them(text: str) -> None:
    match = re.match(r"(.+)\[(.+)\]", text)
    assert parse_action(text) == (match and (match[1], match[2].lower()))


@pytest.mark.parametrize(
    "action", ["", "search", "search[]", "I will click[search]", "Click[search]", "click [search]", "search[a[b]]"]
)
def test_an_action_of_another_form_does_nothing_and_counts(shop: Shop, action: str) -> None:
    episode = WebShopEpisode(shop, 0, max_steps=0)
    first = episode.reset()
    shown = episode.step(action)
    assert (shown.observation, shown.admissible, shown.reward) == (first.observation, first.admissible, 0.0)
    assert (shown.action_valid, shown.done, episode.steps) == (False, False, 1)


@pytest.mark.parametrize("action", ["search[<c>]", "search[<a> red]"])
def test_searches_that_crash_the_original_do_nothing(shop: Shop, action: str) -> None:
    assert play(WebShopEpisode(shop, 0), action).observation == play(WebShopEpisode(shop, 0)).observation


def test_searching_works_on_every_page_but_is_offered_on_the_first_one_only(shop: Shop) -> None:
    episode = WebShopEpisode(shop, 0)
    assert play(episode, "search[lamp]").action_valid
    again = episode.step("search[chair]")
    assert not again.action_valid
    assert "Page 1" in again.observation


def test_pages_of_results_have_no_end(shop: Shop) -> None:
    episode = WebShopEpisode(shop, 0)
    shown = play(episode, "search[the of and]", "click[next >]", "click[next >]")
    assert "Page 3 (Total results: 0)" in shown.observation
    assert shown.admissible == ("back to search", "< prev", "next >")
    assert "Page 2 " in episode.step("click[< prev]").observation


def test_a_category_a_query_and_random_products_can_be_searched(shop: Shop) -> None:
    product = shop.catalogue.product(0)
    for command in (f"<c> {product.category}", f"<q> {product.query}"):
        assert product.asin in play(WebShopEpisode(shop, 0), f"search[{command}]").observation
    pages = {play(WebShopEpisode(shop, 0, seed=seed), "search[<r>]").observation for seed in (1, 1, 2)}
    assert len(pages) == 2
    assert all("Total results: 50" in page for page in pages)


def test_the_walkthrough_buys_what_is_asked_for(shop: Shop) -> None:
    number = goal_with_options(shop)
    actions = walkthrough(shop, shop.goals[number])
    assert actions is not None
    episode = WebShopEpisode(shop, number)
    shown = play(episode, *actions)
    assert (shown.reward, shown.won, shown.terminated, shown.truncated) == (1.0, True, True, False)
    assert shown.admissible == ()
    assert episode.reward_parts is not None
    assert episode.reward_parts.r_option == 1.0
    with pytest.raises(EpisodeOver):
        episode.step("search[more]")


def test_options_are_kept_on_the_sub_pages_and_lost_on_the_results(shop: Shop) -> None:
    number = goal_with_options(shop)
    actions = walkthrough(shop, shop.goals[number])
    assert actions is not None
    to_item, chosen = actions[:-1], shop.goals[number].options[0]
    episode = WebShopEpisode(shop, number, max_steps=0, observation=Observation.TEXT_RICH)
    marked = play(episode, *to_item).observation
    assert f"You have clicked {chosen[1]}." in marked
    assert play(episode, *to_item, "click[features]", "click[< prev]").observation == marked
    asin = shop.goals[number].asin
    unmarked = play(episode, *to_item, "click[< prev]", f"click[{asin.lower()}]").observation
    assert "You have clicked" not in unmarked


def test_visited_products_are_marked_until_the_start_page(shop: Shop) -> None:
    episode = WebShopEpisode(shop, 0, max_steps=0, observation=Observation.TEXT_RICH)
    words = shop.catalogue.product(0).query
    asin = play(episode, f"search[{words}]").admissible[2]
    mark = f"[clicked button] {asin.upper()} [clicked button_]"
    assert mark in play(episode, f"search[{words}]", f"click[{asin}]", "click[< prev]").observation
    there_and_back = ("click[back to search]", f"search[{words}]")
    assert mark not in play(episode, f"search[{words}]", f"click[{asin}]", *there_and_back).observation


def test_the_step_limit_truncates_and_a_purchase_at_the_limit_does_not(shop: Shop) -> None:
    actions = walkthrough(shop, shop.goals[0])
    assert actions is not None
    cut = play(WebShopEpisode(shop, 0, max_steps=len(actions) - 1), *actions[:-1])
    assert (cut.truncated, cut.terminated, cut.score) == (True, False, 0.0)
    bought = play(WebShopEpisode(shop, 0, max_steps=len(actions)), *actions)
    assert (bought.truncated, bought.terminated) == (False, True)


def test_a_reset_plays_again_the_same(shop: Shop) -> None:
    episode = WebShopEpisode(shop, 0, max_steps=0)
    actions = walkthrough(shop, shop.goals[0])
    assert actions is not None
    assert play(episode, *actions) == play(episode, *actions)
    assert episode.reset().observation.endswith("Search")
    assert (episode.steps, episode.reward_parts) == (0, None)


@given(st.lists(st.one_of(st.text(max_size=30), st.integers(0, 40)), max_size=12))
def test_any_actions_are_answered_and_pages_always_offer_something(shop: Shop, actions: list[str | int]) -> None:
    episode = WebShopEpisode(shop, 0, max_steps=0)
    shown = episode.reset()
    for action in actions:
        if shown.done:
            break
        if isinstance(action, int):
            action = f"click[{shown.admissible[action % len(shown.admissible)]}]"
        shown = episode.step(action if shown.has_search_bar is False or not action else f"search[{action}]")
        assert shown.done or shown.admissible
        assert 0.0 <= shown.score <= 1.0
