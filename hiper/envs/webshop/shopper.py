"""A scripted shopper: the walkthrough of a goal. It knows the product, finds it by its title, and buys what is asked.

It shows the ceiling of a task, not skill.
"""

from hiper.envs.webshop.model import Goal, Product
from hiper.envs.webshop.pages import PAGE_SIZE, Button
from hiper.envs.webshop.shop import Shop

__all__ = ["walkthrough", "wanted_options"]

_NO_BRACKETS = str.maketrans("[]", "  ")
"""A bracket within the words would end the action."""


def wanted_options(goal: Goal, product: Product) -> dict[str, str]:
    """What to choose of the goal's product, values by name; people's values go to the first name that has them."""
    chosen: dict[str, str] = {}
    for option in goal.options:
        if not isinstance(option, str):
            chosen[option[0]] = option[1]
            continue
        value = option.lower()
        name = next((name for name, values in product.options.items() if value in values), None)
        if name is not None:
            chosen[name] = value
    return chosen


def walkthrough(shop: Shop, goal: Goal) -> list[str] | None:
    """Actions that buy what `goal` asks for: search the title, turn the pages, choose, buy. None if it is not found."""
    number = shop.catalogue.store.find(goal.asin)
    assert number is not None, "goals are made of the catalogue's products"
    product = shop.catalogue.product(number)
    words = " ".join(product.title.translate(_NO_BRACKETS).split())
    hits = shop.find(words) or ()
    if number not in hits:
        return None
    clicks = [Button.NEXT.value] * (list(hits).index(number) // PAGE_SIZE)
    clicks += [product.asin.lower(), *wanted_options(goal, product).values(), Button.BUY.value]
    return [f"search[{words}]", *(f"click[{target}]" for target in clicks)]
