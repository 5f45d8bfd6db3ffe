"""What generated shops sell: departments with their families of products, and the words they are described in.

Tuples, so that drawing from them gives the same everywhere. Within a tuple the first words are drawn most often.
"""

from dataclasses import dataclass

__all__ = ["BRAND_ENDS", "BRAND_STARTS", "COLOURS", "DEPARTMENTS", "EXTRAS", "FILLER", "Department", "Family"]


@dataclass(frozen=True, slots=True)
class Family:
    """Products that answer the same query."""

    query: str
    groups: tuple[str, ...]
    """Parts of the product category below the department."""
    options: tuple[str, ...] = ()
    """Names of the options its products may have, of `Department.options` or `color`."""


@dataclass(frozen=True, slots=True)
class Department:
    """Families that share attributes and options."""

    name: str
    category: str
    """Top of the product category."""
    attributes: tuple[str, ...]
    materials: tuple[str, ...]
    options: dict[str, tuple[str, ...]]
    families: tuple[Family, ...]


COLOURS = (
    *("black", "white", "grey", "blue", "red", "green", "brown", "pink", "navy", "beige", "yellow", "purple"),
    *("light blue", "dark green", "olive", "crème", "café au lait", "black/white", "red/gold", "rosé", "teal"),
    *("charcoal", "matte silver", "forest green", '3" stripes', "sky blue", "mint", "mustard", "ivory", "coral"),
)

EXTRAS = (
    *("with carrying bag", "for everyday use", "pack of 2", "gift set", "for home and travel", "new edition"),
    *("with instructions", "for beginners", "with spare parts", "family pack", "for small rooms", "in a tin box"),
)

FILLER = (
    *("well made and easy to keep clean", "a simple thing that does its work", "made in small batches"),
    *("thank you for looking at our shop", "each one is checked by hand", "a present for people who have everything"),
    *("it fits where others do not", "works from the first day", "the measures are on the drawing"),
    *("we answer every question within a day", "quiet, light and sturdy", "lasts for years when cared for"),
)

BRAND_STARTS = (
    *("Bel", "Nor", "Tav", "Quil", "Mer", "Osk", "Fen", "Lum", "Har", "Vix", "Zel", "Pom", "Dro", "Kav", "Sil"),
    *("Wen", "Ost", "Rim", "Gal", "Tor", "Ebb", "Yar", "Cly", "Jun"),
)
BRAND_ENDS = (
    *("mora", "wick", "ano", "stad", "ello", "brix", "line", "forth", "via", "quist", "umi", "dale", "ora", "ing"),
    *("esto", "mark"),
)

DEPARTMENTS = (
    Department(
        "garden",
        "Garden & Outdoor",
        ("weather resistant", "easy to assemble", "rust free", "foldable", "frost proof", "hand made", "solar powered"),
        ("teak", "steel", "wicker", "bamboo", "aluminium", "oak"),
        {"size": ("small", "medium", "large", "30 x 40 cm", "60 x 80 cm", "1/2 barrel"), "set": ("1", "2", "4", "6")},
        (
            Family("garden chair", ("Furniture", "Chairs"), ("color", "set")),
            Family("flower pot", ("Planters", "Pots"), ("color", "size", "set")),
            Family("watering can", ("Tools",), ("color", "size")),
            Family("bird feeder", ("Wildlife", "Feeders"), ("color",)),
            Family("camping lantern", ("Camping", "Lights", "Lanterns"), ("color", "set")),
            Family("picnic blanket", ("Camping", "Blankets"), ("color", "size")),
            Family("garden hose", ("Tools", "Watering"), ("size",)),
        ),
    ),
    Department(
        "kitchen",
        "Home & Kitchen",
        ("dishwasher safe", "non stick", "heat resistant", "bpa free", "space saving", "stackable", "eco friendly"),
        ("ceramic", "glass", "stainless steel", "cast iron", "wood", "silicone"),
        {
            "size": ("8 inch", "10 inch", "12 inch", "1 litre", "2 litre"),
            "style": ("plain", "lid", "handle/lid", "set"),
        },
        (
            Family("frying pan", ("Cookware", "Pans"), ("size", "style")),
            Family("tea kettle", ("Cookware", "Kettles"), ("color", "size")),
            Family("coffee mug", ("Tableware", "Cups", "Mugs"), ("color", "style")),
            Family("cutting board", ("Utensils",), ("size",)),
            Family("storage jar", ("Storage", "Jars"), ("color", "size", "style")),
            Family("baking tray", ("Bakeware",), ("size",)),
            Family("dinner plate", ("Tableware", "Plates"), ("color", "size")),
        ),
    ),
    Department(
        "clothing",
        "Clothing, Shoes & Jewelry",
        (
            "machine wash",
            "long sleeve",
            "slim fit",
            "quick drying",
            "hand wash",
            "loose fit",
            "anti slip",
            "day comfort",
        ),
        ("cotton", "linen", "wool", "denim", "fleece", "leather", "silk"),
        {
            "size": ("small", "medium", "large", "x-large", "8", "8.5", "9", "10"),
            "fit type": ("men", "women"),
        },
        (
            Family("winter jacket", ("Men", "Coats", "Jackets"), ("color", "size", "fit type")),
            Family("running shoes", ("Shoes", "Athletic"), ("color", "size")),
            Family("summer dress", ("Women", "Dresses"), ("color", "size")),
            Family("hiking socks", ("Socks",), ("color", "size")),
            Family("rain hat", ("Accessories", "Hats"), ("color",)),
            Family("work gloves", ("Accessories", "Gloves"), ("size",)),
            Family("night gown", ("Women", "Sleepwear"), ("color", "size")),
        ),
    ),
    Department(
        "grocery",
        "Grocery & Gourmet Food",
        ("gluten free", "low sugar", "non gmo", "ready to eat", "plant based", "fat free", "individually wrapped"),
        ("almond", "oat", "honey", "cocoa", "ginger", "barley"),
        {
            "flavor name": (
                "vanilla",
                "peach",
                "lemon & mint",
                "sea salt",
                "crème brûlée",
                "hot chili",
                "cherry",
                "plain",
            ),
            "size": ("100 g", "250 g", "1 kg", "12 ounce (pack of 6)", "8.5 fl oz"),
        },
        (
            Family("snack bar", ("Snacks", "Bars"), ("flavor name", "size")),
            Family("herbal tea", ("Beverages", "Tea"), ("flavor name", "size")),
            Family("breakfast cereal", ("Breakfast",), ("flavor name",)),
            Family("fruit spread", ("Pantry", "Spreads", "Jams"), ("flavor name", "size")),
            Family("cooking oil", ("Pantry", "Oils"), ("size",)),
            Family("trail mix", ("Snacks", "Nuts"), ("flavor name", "size")),
        ),
    ),
    Department(
        "electronics",
        "Electronics",
        (
            "fast charging",
            "noise cancelling",
            "water proof",
            "plug and play",
            "wireless",
            "high definition",
            "hands free",
        ),
        ("aluminium", "carbon", "rubber", "glass", "nylon"),
        {"size": ("3 ft", "6 ft", "10 ft", "64 gb", "128 gb"), "style": ("usb-c", "classic", "mini", "left/right")},
        (
            Family("phone case", ("Phones", "Cases"), ("color", "style")),
            Family("desk lamp", ("Lighting", "Lamps"), ("color",)),
            Family("charging cable", ("Accessories", "Cables"), ("size", "style")),
            Family("travel speaker", ("Audio", "Speakers", "Portable"), ("color", "style")),
            Family("memory card", ("Storage",), ("size",)),
            Family("wall clock", ("Home", "Clocks"), ("color", "style")),
        ),
    ),
)
