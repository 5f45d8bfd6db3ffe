"""Putting a shop together: catalogue, search index, goals and reward; and what a panel pins of all that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hiper.envs.webshop.catalogue import Catalogue
from hiper.envs.webshop.goals import Seeds, draw_goals
from hiper.envs.webshop.model import Instruction
from hiper.envs.webshop.reward import Judge, NounSource, OptionRule
from hiper.envs.webshop.search import CatalogueSearch
from hiper.envs.webshop.shop import Shop
from hiper.errors import DataError

__all__ = ["Opening", "open_shop"]


@dataclass(frozen=True, slots=True)
class Opening:
    """How a shop is opened."""

    seeds: Seeds
    nouns: NounSource
    """Finds the nouns of titles."""
    instructions: Mapping[str, Sequence[Instruction]] | None = None
    """What people asked for, by asin; None: synthetic goals."""
    option_rule: OptionRule = OptionRule.ORIGINAL
    """When an option of the goal counts as chosen."""


def open_shop(catalogue: Catalogue, opening: Opening) -> tuple[Shop, dict[str, str]]:
    """The shop, and what all its tasks share. Builds the search index of a cached catalogue the first time.

    Raises `DataError` when there are no goals.
    """
    judge = Judge(opening.nouns, opening.option_rule)
    prices, goals = draw_goals(catalogue, opening.seeds, opening.instructions)
    if not len(goals):
        raise DataError(f"catalogue {catalogue.name} has no goals: nobody asks for its products", "use a larger one")
    facts = catalogue.store.facts
    shared = {
        "items_sha256": facts.items_sha256,
        "attributes_sha256": facts.attributes_sha256,
        "price_seed": str(opening.seeds.prices),
        "order_seed": str(opening.seeds.order),
        **judge.facts(),
    }
    search = CatalogueSearch(catalogue)
    if catalogue.folder is not None:
        _ = search.index  # no player waits until it is built
    return Shop(catalogue, prices, goals, search, judge), shared
