"""The shop's pages, without the instruction that stands above them: texts, what can be clicked, and what it leads to.

A page depends on the catalogue only, never on a session, so pages are shared (spec 2.5).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hiper.envs.webshop.model import Product
from hiper.envs.webshop.text import Part, Role, join_plain, options_json, visible

__all__ = [
    "PAGE_SIZE",
    "Button",
    "Page",
    "PageKind",
    "Target",
    "Topic",
    "done_page",
    "heading",
    "item_page",
    "results_page",
    "start_page",
    "topic_page",
]

PAGE_SIZE = 10
"""Products on a page of results."""

Target = int | str | None
"""What a clickable leads to: the number of a product, the name of an option, None for a button."""


class PageKind(StrEnum):
    """Kinds of pages, as their urls name them."""

    START = "start"
    RESULTS = "search_results"
    ITEM = "item_page"
    TOPIC = "item_sub_page"
    DONE = "done"


class Button(StrEnum):
    """Buttons, as they are clicked."""

    SEARCH = "search"
    BACK = "back to search"
    PREVIOUS = "< prev"
    NEXT = "next >"
    BUY = "buy now"


class Topic(StrEnum):
    """Pages about one side of a product; the buttons are called the same, in lower case."""

    DESCRIPTION = "Description"
    FEATURES = "Features"
    REVIEWS = "Reviews"


@dataclass(frozen=True, slots=True)
class Page:
    """One page."""

    kind: PageKind
    parts: tuple[Part, ...]
    """What is seen below the instruction."""
    plain: str
    """The same in mode `text`."""
    targets: Mapping[str, Target]
    """What can be clicked, lower-cased, in the order the original lists it."""
    clickables: tuple[str, ...]
    """The keys of `targets`."""
    topic: Topic | None = None


def _page(kind: PageKind, parts: Iterable[Part], targets: Mapping[str, Target], topic: Topic | None = None) -> Page:
    seen = visible(parts)
    return Page(kind, seen, join_plain(seen), targets, tuple(targets), topic)


def _button(text: str) -> Part:
    return Part(text, Role.BUTTON)


_BACK, _PREVIOUS, _NEXT = _button("Back to Search"), _button("< Prev"), _button("Next >")


def heading(instruction: str, kind: PageKind) -> tuple[Part, ...]:
    """What stands above a page: the instruction, except on the last page."""
    if kind is PageKind.DONE:
        return ()
    if kind is PageKind.START:
        return visible((Part("WebShop"), Part("Instruction: "), Part(instruction)))
    return visible((Part("Instruction:"), Part(instruction)))


def start_page() -> Page:
    """The page with the search bar."""
    return _page(PageKind.START, [_button("Search")], {Button.SEARCH.value: None})


def results_page(number: int, total: int, products: Sequence[tuple[int, Product]]) -> Page:
    """Page `number`, from 1, of `total` results; its `products` with their numbers."""
    parts = [_BACK, Part(f"Page {number} (Total results: {total})")]
    targets: dict[str, Target] = {Button.BACK.value: None}
    if number > 1:
        parts.append(_PREVIOUS)
        targets[Button.PREVIOUS.value] = None
    parts.append(_NEXT)
    targets[Button.NEXT.value] = None
    for place, product in products:
        parts += (Part(product.asin, Role.ASIN), Part(product.title), Part(product.price_text))
        targets[product.asin.lower()] = place
    return _page(PageKind.RESULTS, parts, targets)


def item_page(product: Product) -> Page:
    """A product with its options."""
    parts = [_BACK, _PREVIOUS]
    targets: dict[str, Target] = {Button.BACK.value: None, Button.PREVIOUS.value: None}
    targets |= dict.fromkeys(map(str.lower, Topic)) | {Button.BUY.value: None}
    for name, values in product.options.items():
        parts.append(Part(name))
        for value in values:
            parts.append(Part(value, Role.VALUE))
            targets[value] = name
    parts += (Part(product.title), Part(f"Price: {product.price_text}"), Part("Rating: N.A."))
    parts += (*map(_button, Topic), _button("Buy Now"))
    return _page(PageKind.ITEM, parts, targets)


def topic_page(product: Product, topic: Topic) -> Page:
    """Description, features or reviews of a product. No product has reviews."""
    parts = [_BACK, _PREVIOUS]
    if topic is Topic.DESCRIPTION:
        parts.append(Part(product.description))
    elif topic is Topic.FEATURES:
        parts += (Part(f" {bullet}") for bullet in product.bullets)
    return _page(PageKind.TOPIC, parts, {Button.BACK.value: None, Button.PREVIOUS.value: None}, topic)


def done_page(asin: str, options: Mapping[str, str], score: float) -> Page:
    """The receipt. The original never fills in most of its fields."""
    texts = ["Thank you for shopping with us!", "Your code: ", "None", " (Paste it in your MTurk interface.)"]
    texts += ["Purchased", "asin", asin, "options", options_json(options), "attrs", "None"]
    texts += ["category", "None", "query", "None", "product category", "None"]
    texts += ["Target", "asin", "options", "attrs", "price upper", "instuction text", "category"]
    texts += ["product category", "query", "Goal ", "None"]
    texts += ["Reward", "Your score (min 0.0, max 1.0)", str(score), "Reward Details ", "None"]
    return _page(PageKind.DONE, map(Part, texts), {})
