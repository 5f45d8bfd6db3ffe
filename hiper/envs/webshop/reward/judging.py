"""The reward for a purchase, part by part, as the original computes it (spec 2.7).

Invariants:
- Pure: the same purchase and goal give the same parts, bit for bit. Nothing is read but the noun source.
- Under `OptionRule.ORIGINAL` buying exactly what is asked for may score below 1 (see there); under `EXACT_COUNTS`
  every option of such a purchase counts.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from hiper.envs.webshop.model import Goal, Product, WantedOption
from hiper.envs.webshop.reward.colours import COLOURS, COLOURS_SHA256, normalise
from hiper.envs.webshop.reward.matching import alike
from hiper.envs.webshop.reward.nouns import NounSource
from hiper.envs.webshop.reward.parts import RewardParts

__all__ = ["Judge", "OptionRule", "score"]

_SHARED_PARTS = 2
_SCORE_WITHOUT_NOUNS = 0.2


class OptionRule(StrEnum):
    """When an option of the goal counts as chosen."""

    ORIGINAL = "original"
    """As in the original: texts are compared after colours are normalised. That shortens what was bought but not what
    is wanted (`rectangular` holds `tan`), so of the 1,000 products' goals 458 cannot be fulfilled to the full."""
    EXACT_COUNTS = "exact_counts"
    """Also when exactly the wanted value was chosen."""


class Judge:
    """`score` with what it needs besides the purchase."""

    def __init__(self, nouns: NounSource, rule: OptionRule = OptionRule.ORIGINAL) -> None:
        self._nouns = nouns
        self._rule = rule

    def __call__(self, product: Product, goal: Goal, price: float, options: Mapping[str, str]) -> RewardParts:
        """Reward for buying `product` at `price` with the chosen values by option name."""
        return score(product, goal, price, options, nouns=self._nouns, rule=self._rule)

    def facts(self) -> dict[str, str]:
        """What rewards depend on besides the data: for panels and `GetInfo`."""
        return {"nouns": self._nouns.name, "colours_sha256": COLOURS_SHA256, "option_rule": self._rule.value}


def score(
    product: Product,
    goal: Goal,
    price: float,
    options: Mapping[str, str],
    *,
    nouns: NounSource,
    rule: OptionRule = OptionRule.ORIGINAL,
) -> RewardParts:
    """Reward for buying `product` at `price` with the chosen values by option name."""
    attributes = sum(_has_attribute(product, attribute) for attribute in goal.attributes)
    chosen = sum(_is_chosen(wanted, options, rule) for wanted in goal.options)
    affordable = price <= goal.price_upper
    wanted = len(goal.attributes) + len(goal.options) + 1
    query_match = product.query == goal.query
    category_match = len(_categories(product) & _categories(goal)) >= _SHARED_PARTS
    title_score = _title_score(product, goal, nouns)
    r_type = _kind(query_match or category_match, title_score)
    return RewardParts(
        score=(attributes + chosen + affordable) / wanted * r_type,
        r_type=r_type,
        r_att=attributes / len(goal.attributes) if goal.attributes else 0.0,
        w_att=len(goal.attributes) / wanted,
        query_match=query_match,
        category_match=category_match,
        title_score=title_score,
        r_option=chosen / len(goal.options) if goal.options else None,
        w_option=len(goal.options) / wanted if goal.options else None,
        r_price=affordable,
        w_price=1 / wanted,
    )


def _kind(related: bool, title_score: float) -> float:
    if title_score == 0:
        return 0.0
    if title_score < 0.1:
        return 0.1
    return 1.0 if related or title_score > 0.2 else 0.5


def _categories(of: Product | Goal) -> set[str]:
    return {part.strip() for part in of.product_category.split("›")}


def _title_score(product: Product, goal: Goal, nouns: NounSource) -> float:
    """A noun that the goal's title repeats counts once above the line and every time below it."""
    wanted = nouns.nouns(goal.asin, goal.name)
    if not wanted:
        return _SCORE_WITHOUT_NOUNS
    return len(set(nouns.nouns(product.asin, product.title)) & set(wanted)) / len(wanted)


def _has_attribute(product: Product, attribute: str) -> bool:
    return (
        any(alike(held, attribute) for held in product.attributes)
        or attribute in product.title.lower()
        or attribute in " ".join(product.bullets).lower()
        or attribute in product.description.lower()
    )


def _is_chosen(wanted: WantedOption, options: Mapping[str, str], rule: OptionRule) -> bool:
    if rule is OptionRule.EXACT_COUNTS and _is_exactly_chosen(wanted, options):
        return True
    text = _wanted_text(wanted)
    return any(alike(normalise(value), text) for value in options.values())


def _is_exactly_chosen(wanted: WantedOption, options: Mapping[str, str]) -> bool:
    if isinstance(wanted, str):
        return wanted in options.values()
    return wanted in options.items()


def _wanted_text(wanted: WantedOption) -> str:
    """A pair is compared as Python writes it; it becomes a colour only if its name or value is exactly that word."""
    if isinstance(wanted, str):
        return normalise(wanted)
    return _colour_of(wanted) or str(wanted)


def _colour_of(words: Iterable[str]) -> str | None:
    return min((word for word in words if word in COLOURS), default=None)
