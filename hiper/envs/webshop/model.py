"""What the shop knows about a product and what a task asks for (spec 2.1-2.3). Plain values, no behaviour of their own.

Invariants:
- `Product` holds what the loader makes of the files: option names and values in their final spelling, in file order.
- `Goal` holds exactly what decides its hash (`goals.goal_sha256`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Goal", "Instruction", "Product", "WantedOption"]

WantedOption = str | tuple[str, str]
"""An option a goal asks for: a pair (name, value) in a synthetic goal, a bare value in a human one."""


@dataclass(frozen=True, slots=True)
class Product:
    """One product, as the pages, the search index and the reward need it."""

    asin: str
    """Upper case, at most 10 characters."""
    title: str
    description: str
    bullets: tuple[str, ...]
    """The features; may hold empty texts, may be empty itself."""
    prices: tuple[float, ...]
    """In dollars: one, or the two ends of a range as written."""
    price_text: str
    """As shown, e.g. `$16.05` or `$10.0 to $12.5`."""
    options: Mapping[str, tuple[str, ...]]
    """Values by name, lower-cased, in file order; a value may occur twice."""
    attributes: tuple[str, ...]
    category: str
    query: str
    """Lower-cased and stripped."""
    product_category: str
    """Parts separated by ` › `."""
    instruction: str | None = None
    """Text of its synthetic goals; None if it has none."""
    instruction_attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Instruction:
    """What a person asked for, of one product."""

    text: str
    """Without full stops at its ends."""
    attributes: tuple[str, ...]
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a task asks for."""

    asin: str
    category: str
    query: str
    name: str
    """Title of the product."""
    product_category: str
    instruction_text: str
    """The sentence shown to the player."""
    attributes: tuple[str, ...]
    price_upper: float
    """In dollars; 1,000,000 stands for no limit."""
    options: tuple[WantedOption, ...]
    """Of a synthetic goal in the order of its sentence (names sorted)."""
    is_human: bool = False
    """Written by a person: `options` are bare values then."""
