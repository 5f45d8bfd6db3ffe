"""Products as the original's loader makes them from its files, and their compact form in a store (spec 2.2)."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from math import prod
from typing import Any

from hiper.envs.webshop.model import Product

__all__ = ["decode_product", "encode_product", "goal_count", "is_asked_for", "read_products"]

_LONGEST_ASIN = 10
_NO_PRICE = ((100.0,), "$100.0")
_NO_ATTRIBUTES = ("DUMMY_ATTR",)
_NOT_OF_A_NUMBER = re.compile(r"[^\d.]")


def read_products(items: Iterable[Any], attributes: Mapping[str, Any]) -> Iterator[Product]:
    """The products of a catalogue, in file order.

    `items` are the entries of the item file, `attributes` those of the attribute file by asin. Left out as the original
    does: entries without an asin, and asins seen before. Raises `ValueError` naming an entry that cannot be used.
    """
    seen: set[str] = set()
    for number, item in enumerate(items, start=1):
        try:
            asin = item["asin"]
            if asin == "nan" or len(asin) > _LONGEST_ASIN or asin in seen:
                continue
            seen.add(asin)
            if not asin.isascii():
                raise ValueError(f"asin {asin!r}")
            yield _read_product(item, attributes.get(asin, {}))
        except KeyError as error:
            raise ValueError(f"item {number} has no field {error}") from error
        except (TypeError, AttributeError, ValueError, InvalidOperation) as error:
            raise ValueError(f"item {number} has a field of the wrong form: {error}") from error


def _read_product(item: Mapping[str, Any], extra: Mapping[str, Any]) -> Product:
    prices, price_text = _price(item.get("pricing"))
    bullets = item["small_description"]
    return Product(
        asin=item["asin"],
        title=str(item["name"]),
        description=str(item["full_description"]),
        bullets=tuple(map(str, bullets)) if isinstance(bullets, list) else (str(bullets),),
        prices=prices,
        price_text=price_text,
        options=_options(item["customization_options"] or {}),
        attributes=tuple(extra.get("attributes", _NO_ATTRIBUTES)),
        category=item["category"],
        query=item["query"].lower().strip(),
        product_category=item["product_category"],
        instruction=extra.get("instruction"),
        instruction_attributes=tuple(extra.get("instruction_attributes") or ()),
    )


def _price(text: str | None) -> tuple[tuple[float, ...], str]:
    if not text or "$" not in text:
        return _NO_PRICE
    prices = tuple(float(Decimal(_NOT_OF_A_NUMBER.sub("", part))) for part in text.split("$")[1:])
    return prices[:2], " to ".join(f"${price}" for price in prices[:2])


def _options(raw: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {
        name.lower(): tuple(entry["value"].strip().replace("/", " | ").lower() for entry in entries)
        for name, entries in raw.items()
        if entries is not None
    }


def is_asked_for(product: Product) -> bool:
    """Whether synthetic goals are made of it; there are none if one of its options has no values."""
    return product.instruction is not None and bool(product.instruction_attributes)


def goal_count(product: Product) -> int:
    """Synthetic goals that ask for the product: one per combination of its options' values (spec 2.3)."""
    if not is_asked_for(product):
        return 0
    return prod(len(values) for values in product.options.values())


def encode_product(product: Product) -> tuple[bytes, bytes]:
    """What comes from the item file and what from the attribute file, each as compact JSON.

    Half a surrogate pair, which is no text, becomes a question mark.
    """
    item = (
        product.asin,
        product.title,
        product.description,
        product.bullets,
        product.prices,
        product.price_text,
        product.options,
        product.category,
        product.query,
        product.product_category,
    )
    extra = (product.attributes, product.instruction, product.instruction_attributes)
    return _dump(item), _dump(extra)


def decode_product(item: bytes, extra: bytes) -> Product:
    """What `encode_product` was given."""
    asin, title, description, bullets, prices, price_text, options, category, query, parts = json.loads(item)
    attributes, instruction, instruction_attributes = json.loads(extra)
    return Product(
        asin=asin,
        title=title,
        description=description,
        bullets=tuple(bullets),
        prices=tuple(prices),
        price_text=price_text,
        options={name: tuple(values) for name, values in options.items()},
        attributes=tuple(attributes),
        category=category,
        query=query,
        product_category=parts,
        instruction=instruction,
        instruction_attributes=tuple(instruction_attributes),
    )


def _dump(fields: tuple[object, ...]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
