"""Generated catalogues, in the form of WebShop's three data files, so that one loader reads both (spec 6.2).

A product is a function of (seed, number), so a catalogue of any size is a stream, and its bytes are the same on every
machine. Words are drawn with weights 1, 1/2, 1/3, ..., so that a search meets ties and near ties. Titles begin with an
invented brand and a model, which is what finds a product among thousands of its kind.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from hiper.envs.webshop.merchandise import (
    BRAND_ENDS,
    BRAND_STARTS,
    COLOURS,
    DEPARTMENTS,
    EXTRAS,
    FILLER,
)
from hiper.errors import DataError

__all__ = ["DEFAULT_CATALOGUE", "CatalogueSpec", "Offer", "catalogue_of_task", "offers", "write_catalogue"]

_ASINS = 10**9
_SPREAD = 618_033_989
"""Prime to `_ASINS`: asins do not come in the order of the products."""
_MANY_VALUES = 12
_TASK_ID = re.compile(r"synth-webshop-(\d{1,10})-(\d{1,19})/")
_FAMILIES = tuple((department, family) for department in DEPARTMENTS for family in department.families)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class CatalogueSpec:
    """Which catalogue."""

    products: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.products <= _ASINS:
            raise DataError(f"a catalogue of {self.products} products", f"ask for 1 to {_ASINS:,}")

    @property
    def name(self) -> str:
        """Catalogue of its task ids: `synth-webshop-<products>-<seed>`."""
        return f"synth-webshop-{self.products}-{self.seed}"


DEFAULT_CATALOGUE = CatalogueSpec()


def catalogue_of_task(task: str | None) -> CatalogueSpec:
    """The catalogue a task id names; the default one for any other task, or none."""
    named = _TASK_ID.match(task or "")
    return CatalogueSpec(int(named[1]), int(named[2])) if named else DEFAULT_CATALOGUE


@dataclass(frozen=True, slots=True)
class Offer:
    """One product, as the entries of the three files."""

    item: dict[str, Any]
    extra: dict[str, Any]
    """Of the attribute file; two products in five have an instruction."""
    human: tuple[dict[str, Any], ...]
    """What people asked for; of one product in fifty."""


def offers(spec: CatalogueSpec) -> Iterator[Offer]:
    """The products of a catalogue in file order."""
    for number in range(spec.products):
        yield _Draw(Random(f"{spec.seed}/{number}"), number).offer()


def write_catalogue(folder: Path, spec: CatalogueSpec) -> Path:
    """Write the three files to `folder`, product by product; returns the item file."""
    folder.mkdir(parents=True, exist_ok=True)
    items, attributes = (folder / f"{kind}_{spec.products}.json" for kind in ("items_shuffle", "items_ins_v2"))
    human = folder / "items_human_ins.json"
    with items.open("w") as first, attributes.open("w") as second, human.open("w") as third:
        before = ("[\n", "{\n", "{\n")
        for offer in offers(spec):
            asin = offer.item["asin"]
            first.write(f"{before[0]}{json.dumps(offer.item)}")
            second.write(f'{before[1]}"{asin}": {json.dumps(offer.extra)}')
            if offer.human:
                third.write(f'{before[2]}"{asin}": {json.dumps(offer.human)}')
            before = (",\n", ",\n", ",\n" if offer.human else before[2])
        first.write("]\n")
        second.write("}\n")
        third.write("}\n" if before[2] == ",\n" else "{}\n")
    return items


class _Draw:
    """Draws one product."""

    def __init__(self, random: Random, number: int) -> None:
        self._random = random
        self._number = number
        self._department, self._family = random.choice(_FAMILIES)

    def offer(self) -> Offer:
        department, family = self._department, self._family
        attributes = self._some(department.attributes, 2, 4)
        options = self._options()
        item = {
            "asin": f"S{self._number * _SPREAD % _ASINS:09d}",
            "name": self._title(attributes),
            "full_description": self._text(2, 5) if self._random.random() < 2 / 3 else "",
            "small_description": self._bullets(attributes),
            "pricing": self._pricing(),
            "images": [""],  # the original shows the first one
            "product_category": " › ".join((department.category, *family.groups)),
            "category": department.name,
            "query": family.query.title(),
            "customization_options": options or "",
            "average_rating": "",
            "page": 1,
        }
        extra: dict[str, Any] = {"attributes": attributes}
        human: tuple[dict[str, Any], ...] = ()
        if self._random.random() < 2 / 5:
            asked = attributes[: self._random.randint(1, 3)]
            extra |= {"instruction": f"Find me {', '.join(asked)} {family.query}", "instruction_attributes": asked}
        if self._random.random() < 1 / 50:
            human = (self._human(attributes[:2], options),)
        return Offer(item, extra, human)

    def _title(self, attributes: Sequence[str]) -> str:
        """6 to 20 words."""
        brand = self._random.choice(BRAND_STARTS) + self._random.choice(BRAND_ENDS)
        model = f"{self._random.choice('ABCDEFGHKLMNPRSTVWX')}{self._random.randrange(10, 1000)}"
        words = [brand, model, self._frequent(self._department.materials).title(), self._family.query.title()]
        words += [text.title() for text in attributes[: self._random.randint(1, 2)]]
        words += self._some(EXTRAS, 0, 2)
        return ", ".join((" ".join(words[:4]), *words[4:]))

    def _bullets(self, attributes: Sequence[str]) -> list[str] | str:
        lines = [f"{attribute.capitalize()}: {self._frequent(FILLER)}" for attribute in attributes]
        lines += [self._text(1, 2)] * self._random.randint(0, 2)
        return lines if self._random.random() < 0.8 else lines[0]

    def _pricing(self) -> str:
        low, kind = self._random.randint(300, 15_000), self._random.random()
        if kind < 0.1:
            return ""
        if kind < 0.2:
            return f"{_dollars(low)}{_dollars(low + self._random.randint(1, low))}"
        return _dollars(low)

    def _options(self) -> dict[str, list[dict[str, Any]] | None]:
        names = [name for name in self._family.options if self._random.random() < 0.8]
        options: dict[str, list[dict[str, Any]] | None] = {name: self._values(name) for name in names}
        if self._random.random() < 0.1:
            options["item shape"] = None
        return options

    def _values(self, name: str) -> list[dict[str, Any]]:
        known = COLOURS if name == "color" else self._department.options[name]
        values = self._some(known, 0 if self._random.random() < 0.02 else 1, _MANY_VALUES)
        if values and self._random.random() < 0.03:
            values.append(values[0])
        return [{"value": value.title() if self._number % 2 else value, "image": None} for value in values]

    def _human(self, attributes: list[str], options: Mapping[str, list[dict[str, Any]] | None]) -> dict[str, Any]:
        chosen = [self._random.choice(values)["value"].lower() for values in options.values() if values]
        wanted = f", {' and '.join(chosen)}" if chosen else ""
        return {
            "instruction": f"i need a {self._family.query} that is {' and '.join(attributes)}{wanted}.",
            "instruction_attributes": attributes,
            "instruction_options": chosen,
        }

    def _text(self, fewest: int, most: int) -> str:
        return ". ".join(text.capitalize() for text in self._some(FILLER, fewest, most)) + "."

    def _frequent(self, words: Sequence[Item]) -> Item:
        return self._random.choices(words, cum_weights=_weights(len(words)))[0]

    def _some(self, words: Sequence[Item], fewest: int, most: int) -> list[Item]:
        """Different ones, the frequent ones first as a rule."""
        number = self._random.randint(fewest, min(most, len(words)))
        return list(dict.fromkeys(self._frequent(words) for _ in range(2 * number)))[:number]


@lru_cache
def _weights(words: int) -> tuple[float, ...]:
    return tuple(accumulate(1 / rank for rank in range(1, words + 1)))


def _dollars(cents: int) -> str:
    return f"${cents // 100}.{cents % 100:02d}"
