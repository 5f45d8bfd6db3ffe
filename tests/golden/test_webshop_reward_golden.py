"""The reward against recordings of the original: score and every part."""

from dataclasses import asdict

import pytest
from webshop_recordings import NEEDED

from hiper.envs.webshop.catalogue import Catalogue, read_instructions
from hiper.envs.webshop.files import ShopFiles
from hiper.envs.webshop.goals import GoalSet, Seeds, SyntheticGoals, draw_goals
from hiper.envs.webshop.model import Product
from hiper.envs.webshop.reward import Judge, OptionRule, RewardParts, RuleNouns, choose_nouns

pytestmark = NEEDED


@pytest.fixture(scope="module")
def judge(files: ShopFiles) -> Judge:
    return Judge(choose_nouns(files.nouns))


@pytest.fixture(scope="module")
def products(catalogue: Catalogue) -> dict[str, Product]:
    return {product.asin: product for product in catalogue}


@pytest.fixture(scope="module")
def goals(catalogue: Catalogue) -> GoalSet:
    return draw_goals(catalogue, Seeds())[1]


@pytest.fixture(scope="module")
def human_goals(catalogue: Catalogue, files: ShopFiles) -> GoalSet:
    assert files.human is not None
    return draw_goals(catalogue, Seeds(), read_instructions(files.human))[1]


def _bought(judge: Judge, products: dict[str, Product], goals: GoalSet, case: dict) -> RewardParts:
    return judge(products[case["asin"]], goals[case["goal"]], case["price"], case["options"])


def _assert_as_recorded(parts: RewardParts, case: dict) -> None:
    known = {name: part for name, part in asdict(parts).items() if part is not None}
    assert known == pytest.approx({"score": case["reward"], **case["info"]}, abs=1e-9, rel=0), case


def test_every_recorded_purchase_is_worth_the_same_for_the_same_reasons(
    judge: Judge, products: dict[str, Product], goals: GoalSet, recorded: dict
) -> None:
    for case in recorded["reward_cases"]:
        _assert_as_recorded(_bought(judge, products, goals, case), case)


def test_purchases_for_what_people_asked_are_worth_the_same(
    judge: Judge, products: dict[str, Product], human_goals: GoalSet, recorded: dict
) -> None:
    for case in recorded["human_reward_cases"]:
        _assert_as_recorded(_bought(judge, products, human_goals, case), case)


def test_nouns_by_the_rule_change_fewer_than_two_percent_of_rewards(
    products: dict[str, Product], goals: GoalSet, recorded: dict
) -> None:
    judge, cases = Judge(RuleNouns()), recorded["reward_cases"]
    differing = [c for c in cases if abs(_bought(judge, products, goals, c).score - c["reward"]) > 1e-9]
    assert len(differing) < 0.02 * len(cases)


def test_the_rule_finds_the_nouns_of_nearly_all_titles(files: ShopFiles, products: dict[str, Product]) -> None:
    table, rule = choose_nouns(files.nouns), RuleNouns()
    equal = [table.nouns(p.asin, p.title) == rule.nouns(p.asin, p.title) for p in products.values()]
    assert sum(equal) >= 0.98 * len(equal)


def _ceilings(judge: Judge, catalogue: Catalogue) -> list[float]:
    """What buying exactly what is asked for is worth, for every goal."""
    prices, goals = draw_goals(catalogue, Seeds())
    assert isinstance(goals, SyntheticGoals)
    wanted = (goals[number] for number in range(len(goals)))
    numbers = {product.asin: number for number, product in enumerate(catalogue)}
    return [
        judge(catalogue.product(numbers[goal.asin]), goal, float(prices[numbers[goal.asin]]), dict(goal.options)).score
        for goal in wanted
    ]


def test_the_goals_that_cannot_be_fulfilled_are_those_of_the_original(judge: Judge, catalogue: Catalogue) -> None:
    ceilings = _ceilings(judge, catalogue)
    below = [number for number, score in enumerate(ceilings) if score < 1]
    assert (len(below), sum(number < 500 for number in below)) == (458, 20)
    assert min(ceilings) == pytest.approx(2 / 3)


def test_every_goal_can_be_fulfilled_where_exact_choices_count(files: ShopFiles, catalogue: Catalogue) -> None:
    assert set(_ceilings(Judge(choose_nouns(files.nouns), OptionRule.EXACT_COUNTS), catalogue)) == {1.0}
