"""The shop all sessions share: products, goals, search and reward, with what they give kept in bounded caches.

Invariants:
- Nothing here depends on a session: the same call gives the same answer, whichever thread or process asks.
- Caches are bounded; what falls out is made again.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray

from hiper.envs.webshop.catalogue import Catalogue
from hiper.envs.webshop.goals import GoalSet
from hiper.envs.webshop.model import Goal, Product
from hiper.envs.webshop.pages import PAGE_SIZE, Page, item_page, results_page, start_page, topic_page
from hiper.envs.webshop.reward import RewardParts

__all__ = ["Judge", "Search", "Shop"]

_HITS = 50
"""Results of a search at most; the commands `<c>` and `<q>` may give more."""
_QUERIES_KEPT = 4096
_PAGES_KEPT = 4096
"""Of each kind, about 5 kB each."""

Search = Callable[[str, int], Sequence[int]]
"""Numbers of the best products for a query, at most so many, in order."""
Judge = Callable[[Product, Goal, float, Mapping[str, str]], RewardParts]
"""Reward for buying a product at a price with the chosen options, under a goal."""


class Shop:
    """Everything of WebShop that is not a session. Safe to share between threads."""

    def __init__(
        self, catalogue: Catalogue, prices: NDArray[np.float64], goals: GoalSet, search: Search, judge: Judge
    ) -> None:
        self.catalogue = catalogue
        self.goals = goals
        self._prices = prices
        self._search = search
        self._judge = judge
        self.start = start_page()
        """The first page."""
        self._found = lru_cache(_QUERIES_KEPT)(self._search_for)
        self._results = lru_cache(_PAGES_KEPT)(self._make_results)
        self.item = lru_cache(_PAGES_KEPT)(lambda number: item_page(catalogue.product(number)))
        """Page of a product."""
        self.topic = lru_cache(_PAGES_KEPT)(lambda number, topic: topic_page(catalogue.product(number), topic))
        """Page of one topic of a product."""

    def results(self, words: str, number: int, seed: int) -> Page | None:
        """Page `number` of the results for `words`; None for a command the shop does not know.

        `seed` decides what `<r>`, which asks for random products, finds.
        """
        command = words.partition(" ")[0]
        return self._results(words, number, seed if command == "<r>" else 0)

    def find(self, words: str, seed: int = 0) -> Sequence[int] | None:
        """Numbers of the products for `words`, in order; see `results`."""
        return self._found(words, seed)

    def price(self, product: int) -> float:
        """What a product costs."""
        return float(self._prices[product])

    def judge(self, goal: Goal, product: int, options: Mapping[str, str]) -> RewardParts:
        """Reward for buying a product with these options."""
        return self._judge(self.catalogue.product(product), goal, self.price(product), options)

    def _make_results(self, words: str, number: int, seed: int) -> Page | None:
        hits = self._found(words, seed)
        if hits is None:
            return None
        shown = hits[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
        return results_page(number, len(hits), [(hit, self.catalogue.product(hit)) for hit in shown])

    def _search_for(self, words: str, seed: int) -> Sequence[int] | None:
        """The first word may be a command (spec 2.4)."""
        store = self.catalogue.store
        match words.split(" "):
            case ["<r>", *_]:
                return Random(seed).sample(range(len(store)), min(_HITS, len(store)))
            case ["<c>", category, *_]:
                return store.with_category(category.strip())
            case ["<q>", *query]:
                return store.with_query(" ".join(query).strip())
            case ["<c>" | "<a>", *_]:
                return None
        return self._search(words, _HITS)
