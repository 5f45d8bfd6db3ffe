"""What tasks ask for: goals made of the products' instructions, drawn and ordered as the original does (spec 2.3).

One stream of random numbers gives the prices of products sold at a range and then the price limits, a second one
shuffles. Synthetic goals are built when asked for: a million products have millions of goals.

Invariants:
- The same catalogue and seeds give the same prices and goals in the same order, on every machine.
- A goal's identity is the sha256 of its canonical JSON: two goals that ask for the same have the same one.
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hiper.envs.webshop.catalogue import Catalogue
from hiper.envs.webshop.model import Goal, Instruction, Product, WantedOption

__all__ = [
    "DEFAULT_SEEDS",
    "NO_LIMIT",
    "GoalSet",
    "HumanGoals",
    "Seeds",
    "SyntheticGoals",
    "canonical_goal",
    "draw_goals",
    "goal_document",
    "goal_sha256",
]

NO_LIMIT = 1_000_000
"""Price limit of a goal without one; an integer, as in the original's goals."""

_MARKS = tuple(10.0 * mark for mark in range(1, 100))
_NEAR_MARKS = 4  # a limit is one of the first marks above the price


@dataclass(frozen=True, slots=True)
class Seeds:
    """What fixes all that is drawn at load."""

    prices: int = 20240601
    """Prices within ranges, then price limits."""
    order: int = 233
    """Order of the goals."""


DEFAULT_SEEDS = Seeds()


class GoalSet(Protocol):
    """Goals in their final order."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Goal:
        """The goal at `number`, from 0."""
        ...

    def find(self, asin: str, sha256_prefix: str) -> int | None:
        """Number of the first goal for the product whose hash begins so."""
        ...

    def by_product(self, limit: int) -> Iterable[int]:
        """Numbers of the first `limit` goals, those of a product together: the quickest way through all of them."""
        ...


def goal_document(goal: Goal) -> dict[str, Any]:
    """The goal as the original's own object, without the weight."""
    return {
        "asin": goal.asin,
        "category": goal.category,
        "query": goal.query,
        "name": goal.name,
        "product_category": goal.product_category,
        "instruction_text": goal.instruction_text,
        "attributes": list(goal.attributes),
        "price_upper": goal.price_upper,
        "goal_options": list(goal.options) if goal.is_human else dict(_pairs(goal)),
    }


def _pairs(goal: Goal) -> Iterator[tuple[str, str]]:
    for option in goal.options:
        assert not isinstance(option, str), "a synthetic goal has pairs"
        yield option


def canonical_goal(document: Mapping[str, Any]) -> str:
    """Sorted keys, no blanks, ASCII escapes."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def goal_sha256(goal: Goal) -> str:
    """Identity of a goal, hexadecimal."""
    return hashlib.sha256(canonical_goal(goal_document(goal)).encode()).hexdigest()


def draw_goals(
    catalogue: Catalogue, seeds: Seeds, instructions: Mapping[str, Sequence[Instruction]] | None = None
) -> tuple[NDArray[np.float64], GoalSet]:
    """What every product costs, and the goals: people's `instructions` by asin where given, else synthetic ones."""
    random = Random(seeds.prices)
    prices = _draw_prices(catalogue, random)
    if instructions is None:
        return prices, SyntheticGoals(catalogue, prices, random, seeds.order)
    return prices, HumanGoals(catalogue, prices, random, instructions, seeds.order)


def _draw_prices(catalogue: Catalogue, random: Random) -> NDArray[np.float64]:
    columns = catalogue.store.columns
    prices = np.array(columns.low)
    for number in np.flatnonzero(~np.isnan(columns.high)):
        prices[number] = random.uniform(float(columns.low[number]), float(columns.high[number]))
    return prices


def _draw_limit(price: float, random: Random) -> float:
    marks = [mark for mark in _MARKS if mark > price][:_NEAR_MARKS]
    return max(random.sample(marks, 2)) if len(marks) > 1 else NO_LIMIT


def _limit_text(limit: float) -> str:
    return "" if limit == NO_LIMIT else f", and price lower than {limit:.2f} dollars"


class SyntheticGoals:
    """One goal for every combination of option values of every product with an instruction."""

    def __init__(self, catalogue: Catalogue, prices: NDArray[np.float64], random: Random, order_seed: int) -> None:
        self._catalogue = catalogue
        counts = catalogue.store.columns.goals
        self._products = np.flatnonzero(catalogue.store.columns.asked_for)
        self._limits = array("d", (_draw_limit(float(prices[number]), random) for number in self._products))
        self._ends = np.cumsum(counts[self._products], dtype=np.uint64)
        total = int(self._ends[-1]) if len(self._ends) else 0
        self._order = array("I", range(total))
        Random(order_seed).shuffle(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, number: int) -> Goal:
        made = self._order[number]
        place = int(np.searchsorted(self._ends, made, side="right"))
        first = int(self._ends[place - 1]) if place else 0
        return self._goal(place, made - first)

    def find(self, asin: str, sha256_prefix: str) -> int | None:
        """Number of the first goal for the product whose hash begins so."""
        product = self._catalogue.store.find(asin)
        place = -1 if product is None else int(np.searchsorted(self._products, product))
        if product is None or place == len(self._products) or self._products[place] != product:
            return None
        first, end = int(self._ends[place - 1]) if place else 0, int(self._ends[place])
        hits = [
            self._numbers[made]
            for made in range(first, end)
            if goal_sha256(self._goal(place, made - first)).startswith(sha256_prefix)
        ]
        return int(min(hits)) if hits else None

    def by_product(self, limit: int) -> Iterable[int]:
        """Numbers of the first `limit` goals, those of a product together."""
        return map(int, np.argsort(np.frombuffer(self._order, np.uint32)[:limit]))

    def weight(self, goal: Goal) -> float:
        """How often the original draws `goal` when no number is given, relative to the others."""
        shares = [1.0 / self._attribute_counts[attribute] for attribute in goal.attributes]
        return sum(shares) / len(shares)

    @cached_property
    def _numbers(self) -> NDArray[np.intp]:
        """Final number of a goal by the order in which they are made."""
        return np.argsort(np.frombuffer(self._order, np.uint32))

    @cached_property
    def _attribute_counts(self) -> Counter[str]:
        """Goals that ask for an attribute."""
        counts: Counter[str] = Counter()
        for number in self._products:
            goals = int(self._catalogue.store.columns.goals[number])
            for attribute in self._catalogue.store.product(int(number)).instruction_attributes:
                counts[attribute] += goals
        return counts

    def _goal(self, place: int, combination: int) -> Goal:
        product = self._catalogue.product(int(self._products[place]))
        options = _combination(product, combination)
        limit = self._limits[place]
        wanted = " with " + ", and ".join(f"{name}: {value}" for name, value in options) if options else ""
        text = f"{product.instruction}{wanted}{_limit_text(limit)}"
        return _goal_for(product, text, product.instruction_attributes, limit, options)


def _combination(product: Product, number: int) -> tuple[tuple[str, str], ...]:
    """The pairs of one combination; of the sorted names the last varies fastest."""
    chosen = []
    for name in sorted(product.options, reverse=True):
        values = product.options[name]
        number, value = divmod(number, len(values))
        chosen.append((name, values[value]))
    return tuple(reversed(chosen))


def _goal_for(
    product: Product,
    text: str,
    attributes: tuple[str, ...],
    limit: float,
    options: tuple[WantedOption, ...],
    *,
    is_human: bool = False,
) -> Goal:
    return Goal(
        asin=product.asin,
        category=product.category,
        query=product.query,
        name=product.title,
        product_category=product.product_category,
        instruction_text=text,
        attributes=attributes,
        price_upper=NO_LIMIT if limit == NO_LIMIT else limit,
        options=options,
        is_human=is_human,
    )


class HumanGoals:
    """One goal for every instruction a person wrote that names attributes."""

    def __init__(
        self,
        catalogue: Catalogue,
        prices: NDArray[np.float64],
        random: Random,
        instructions: Mapping[str, Sequence[Instruction]],
        order_seed: int,
    ) -> None:
        known = {number: asin for asin in instructions if (number := catalogue.store.find(asin)) is not None}
        self._goals = [
            _human_goal(catalogue.product(number), instruction, _draw_limit(float(prices[number]), random))
            for number, asin in sorted(known.items())
            for instruction in instructions[asin]
            if instruction.attributes
        ]
        Random(order_seed).shuffle(self._goals)

    def __len__(self) -> int:
        return len(self._goals)

    def __getitem__(self, number: int) -> Goal:
        return self._goals[number]

    def find(self, asin: str, sha256_prefix: str) -> int | None:
        """Number of the first goal for the product whose hash begins so."""
        matching = (
            number
            for number, goal in enumerate(self._goals)
            if goal.asin == asin and goal_sha256(goal).startswith(sha256_prefix)
        )
        return next(matching, None)

    def by_product(self, limit: int) -> Iterable[int]:
        """Numbers of the first `limit` goals."""
        return range(min(limit, len(self)))


def _human_goal(product: Product, instruction: Instruction, limit: float) -> Goal:
    text = instruction.text + _limit_text(limit)
    return _goal_for(product, text, instruction.attributes, limit, instruction.options, is_human=True)
