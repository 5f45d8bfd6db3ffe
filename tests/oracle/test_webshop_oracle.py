"""Our shop against the original, live: random episodes and purchases, real and generated products.

Needs a checkout of the original, named by `HIPER_WEBSHOP_ORIGINAL`, and an interpreter that can run it, named by
`HIPER_WEBSHOP_PYTHON` (see README). The shared recordings (tests/golden) need neither; this test reaches what nobody
recorded. `ORACLE_SEED` draws other episodes, `ORACLE_EPISODES` and `ORACLE_PURCHASES` more of them.
"""

import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running import run_original

from hiper.envs.webshop.catalogue import Catalogue, open_catalogue
from hiper.envs.webshop.engine import WebShopEpisode
from hiper.envs.webshop.files import ShopFiles, find_files
from hiper.envs.webshop.generator import CatalogueSpec, write_catalogue
from hiper.envs.webshop.goals import Seeds, canonical_goal, goal_document
from hiper.envs.webshop.opening import Opening, open_shop
from hiper.envs.webshop.reward import RuleNouns, colours, judging
from hiper.envs.webshop.reward.nouns import TableNouns
from hiper.envs.webshop.shop import Shop
from hiper.envs.webshop.shopper import walkthrough
from hiper.envs.webshop.text import Observation

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HIPER_DATA", ROOT / "../shared/data")) / "webshop"
CHECKOUT = os.environ.get("HIPER_WEBSHOP_ORIGINAL", "")
SEED = os.environ.get("ORACLE_SEED", "0")
EPISODES = int(os.environ.get("ORACLE_EPISODES", "60"))
PURCHASES = int(os.environ.get("ORACLE_PURCHASES", "1000"))
PRODUCTS = 1000  # the original has no other small number
STEPS = 15
JUNK = ("", "search", "search[]", "click[nothing]", "Click[buy now]", "look around", "search[a[b]]", "click[search]")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not CHECKOUT, reason="the original is not here: see tests/oracle/README.md for HIPER_WEBSHOP_ORIGINAL"
    ),
]

Play = tuple[int, list[str]]
Purchase = tuple[int, str, dict[str, str]]


@dataclass(frozen=True)
class Compared:
    """What was asked, what the original answered, and our shop with the original's nouns."""

    shop: Shop
    plays: list[Play]
    purchases: list[Purchase]
    answer: dict[str, Any]


@pytest.fixture(scope="module", params=["real", "generated"])
def compared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    folder = tmp_path_factory.mktemp("oracle")
    if request.param == "generated":
        write_catalogue(folder / "data", CatalogueSpec(PRODUCTS, seed=int(SEED)))
    elif not DATA.is_dir():
        pytest.skip("no WebShop files: set HIPER_DATA or have ../shared/data")
    files = find_files(folder / "data" if request.param == "generated" else DATA)
    catalogue, rng = open_catalogue(files), random.Random(f"{SEED}/{request.param}")
    shop, _ = open_shop(catalogue, Opening(Seeds(), RuleNouns()))
    plays = [draw_play(shop, rng) for _ in range(EPISODES)]
    purchases = [draw_purchase(shop, rng) for _ in range(PURCHASES)]
    answer = ask_original(folder, files, plays, purchases)
    return Compared(with_nouns(catalogue, answer), plays, purchases, answer)


def with_nouns(catalogue: Catalogue, answer: dict[str, Any]) -> Shop:
    table = {asin: tuple(nouns) for asin, nouns in answer["nouns"].items()}
    return open_shop(catalogue, Opening(Seeds(), TableNouns(table, "original", RuleNouns())))[0]


def ask_original(folder: Path, files: ShopFiles, plays: list[Play], purchases: list[Purchase]) -> dict[str, Any]:
    paths = {"items": files.items, "attributes": files.attributes, "human": files.human}
    task = {name: str(path) for name, path in paths.items()}
    task |= {"products": PRODUCTS, "seed": Seeds().prices, "plays": plays, "purchases": purchases}
    return run_original("webshop_original.py", folder, task, CHECKOUT)


def draw_play(shop: Shop, rng: random.Random) -> Play:
    """Some of the walkthrough, then anything that is listed, searches, and now and then nonsense."""
    number = rng.randrange(len(shop.goals))
    episode = WebShopEpisode(shop, number, max_steps=STEPS)
    plan = walkthrough(shop, episode.goal) or []
    ahead = plan[: rng.randrange(len(plan) + 1)]
    played: list[str] = []
    shown = episode.reset()
    while not shown.done:
        action = ahead.pop(0) if ahead else draw_action(shop, episode, shown.admissible, rng)
        played.append(action)
        shown = episode.step(action)
    return number, played


def draw_action(shop: Shop, episode: WebShopEpisode, clickables: tuple[str, ...], rng: random.Random) -> str:
    chance = rng.random()
    if chance < 0.08:
        return rng.choice(JUNK)
    if chance < 0.3 or clickables == ("search",):
        product = shop.catalogue.product(rng.randrange(len(shop.catalogue)))
        words = f"{product.title} {product.description} {episode.goal.instruction_text}".split()
        start = rng.randrange(len(words))
        commands = (f"<c> {product.category}", f"<q> {product.query}")
        query = " ".join(words[start : start + rng.randint(1, 12)])
        return f"search[{rng.choice(commands) if rng.random() < 0.1 else query}]"
    return f"click[{rng.choice(clickables)}]"


def draw_purchase(shop: Shop, rng: random.Random) -> Purchase:
    """What is asked for, something like it, or anything; with any of its options."""
    number = rng.randrange(len(shop.goals))
    goal = shop.goals[number]
    hits = shop.find(goal.query) or ()
    place = shop.catalogue.store.find(goal.asin)
    kind = rng.random()
    if kind > 0.4:
        place = rng.choice(hits) if kind > 0.6 and hits else rng.randrange(len(shop.catalogue))
    assert place is not None
    product = shop.catalogue.product(place)
    options = {name: rng.choice(values) for name, values in product.options.items() if values and rng.random() < 0.8}
    return number, product.asin, options


def test_goals_are_the_same_in_the_same_order(compared: Compared) -> None:
    goals = compared.shop.goals
    ours = [goal_document(goals[number]) for number in range(len(goals))]
    theirs = [{name: goal[name] for name in ours[0]} for goal in compared.answer["goals"]]
    assert [canonical_goal(goal) for goal in ours] == [canonical_goal(goal) for goal in theirs]


def test_every_page_of_every_episode_is_the_same(compared: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    use_colours(monkeypatch, compared)
    for (number, actions), shown in zip(compared.plays, compared.answer["plays"], strict=True):
        plain, rich = (
            WebShopEpisode(compared.shop, number, max_steps=0, observation=mode)
            for mode in (Observation.TEXT, Observation.TEXT_RICH)
        )
        for step, (action, theirs) in enumerate(zip([None, *actions], shown, strict=True)):
            ours, richer = (episode.reset() if action is None else episode.step(action) for episode in (plain, rich))
            where = f"goal {number} step {step}: {action!r} of {actions}"
            assert ours.observation == theirs["text"], where
            assert richer.observation == theirs["rich"], where
            assert plain.url == theirs["url"], where
            offered = {"has_search_bar": ours.has_search_bar, "clickables": list(ours.admissible)}
            assert offered == theirs["actions"], where
            assert (ours.reward, ours.terminated) == (pytest.approx(theirs["reward"], abs=1e-9), theirs["done"]), where


def test_every_purchase_is_worth_the_same(compared: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    use_colours(monkeypatch, compared)
    assert differing(compared) == []


def test_our_own_colour_words_change_hardly_any_reward(compared: Compared) -> None:
    assert len(differing(compared)) <= 0.005 * len(compared.purchases)


def use_colours(monkeypatch: pytest.MonkeyPatch, compared: Compared) -> None:
    """Judge by the original's list of colour words, which is not ours."""
    theirs = tuple(compared.answer["colours"])
    monkeypatch.setattr(colours, "COLOURS", theirs)
    monkeypatch.setattr(judging, "COLOURS", theirs)
    monkeypatch.setattr(judging, "normalise", colours.normalise.__wrapped__)


def differing(compared: Compared) -> list[str]:
    shop, wrong = compared.shop, []
    for (number, asin, options), theirs in zip(compared.purchases, compared.answer["rewards"], strict=True):
        place = shop.catalogue.store.find(asin)
        assert place is not None
        ours = shop.judge(shop.goals[number], place, options).score
        if abs(ours - theirs) > 1e-9:
            wrong.append(f"{asin} {options} for goal {number}: {ours}, not {theirs}")
    return wrong
