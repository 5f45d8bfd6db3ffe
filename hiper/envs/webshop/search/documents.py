"""What is searched: one document per product (spec 2.6)."""

from typing import NamedTuple

from hiper.envs.webshop.model import Product

__all__ = ["Document", "document_of"]


class Document(NamedTuple):
    """A document to be searched."""

    key: str
    """Decides among documents of equal score: the smaller one, by code point, comes first."""
    text: str


def document_of(product: Product) -> Document:
    """The product's document: title, description, first feature and options, in lower case."""
    first = product.bullets[0] if product.bullets else ""
    options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in product.options.items())
    return Document(product.asin, f"{product.title} {product.description} {first} {options}".lower())
