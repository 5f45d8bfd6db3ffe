"""Words that stand for a colour, and what the original does with them: it shortens a value to the word (spec 2.7).

The list is our own: the one-word colours of CSS, and words that shops use for colours and finishes.
"""

from functools import lru_cache
from hashlib import sha256

__all__ = ["COLOURS", "COLOURS_SHA256", "normalise"]

_CSS = """
aqua aquamarine azure beige bisque black blue brown chartreuse chocolate coral cornsilk crimson cyan fuchsia gainsboro
gold goldenrod gray green grey honeydew indigo ivory khaki lavender lime magenta maroon moccasin navy olive orange
orchid pink plum purple red salmon seashell sienna silver tan teal thistle tomato turquoise violet wheat white
yellow
"""
_SHOPS = """
apricot ash banana blush bordeaux bronze burgundy camel camo caramel champagne charcoal cheetah chestnut christmas
coffee cognac copper cranberry cream crystal dark denim eggplant elephant espresso granite grape graphite grass
heather lemon leopard light lilac mauve merlot midnight mint mocha multicolor mushroom mustard natural nude peach
pewter rainbow rose royal rust sand sapphire slate steel stone sunflower taupe tiger walnut wine
"""
_KEPT = 1 << 15

COLOURS = tuple(sorted({*_CSS.split(), *_SHOPS.split()}))
"""In the order in which they are tried."""
COLOURS_SHA256 = sha256("\n".join(COLOURS).encode()).hexdigest()


@lru_cache(_KEPT)
def normalise(value: str) -> str:
    """The first colour whose letters the value contains, wherever they stand; the value itself if there is none."""
    return next((colour for colour in COLOURS if colour in value), value)
