"""The words of generated rooms: kinds of things, what they can do, and what holds what (spec 6.1).

A small table of our own, in the spirit of the real games; abilities are those of the real data.
"""

from dataclasses import dataclass

__all__ = ["ABILITIES", "ACCEPTS", "CONTAINERS", "DEMO", "LAMPS", "LAMP_HOLDERS", "OPENABLE", "ROOMS", "Room"]

_GROUPS: dict[str, tuple[str, ...]] = {
    "food": ("Apple", "Bread", "Egg", "Lettuce", "Potato", "Tomato"),
    "dish": ("Bowl", "Cup", "Mug", "Plate"),
    "cookware": ("Kettle", "Pan", "Pot"),
    "cutlery": ("ButterKnife", "Fork", "Knife", "Spoon"),
    "tool": ("DishSponge", "Ladle", "Spatula"),
    "spice": ("PepperShaker", "SaltShaker"),
    "bottle": ("GlassBottle", "SoapBottle", "WineBottle"),
    "paper": ("Book", "Newspaper"),
    "small": ("AlarmClock", "CD", "CellPhone", "CreditCard", "KeyChain", "Pen", "Pencil", "RemoteControl", "Watch"),
    "big": ("Box", "Laptop"),
    "decor": ("Candle", "Statue", "Vase"),
    "soft": ("Pillow",),
    "bath": ("Cloth", "SoapBar", "SprayBottle", "ToiletPaper"),
    "towel": ("HandTowel", "Towel"),
}

_KITCHENWARE = "food dish cookware cutlery tool spice bottle"
_EVERYDAY = "paper small big decor"

ACCEPTS: dict[str, tuple[str, ...]] = {
    kind: tuple(item for group in groups.split() for item in _GROUPS[group])
    for kind, groups in {
        "ArmChair": "paper small big soft",
        "BathtubBasin": "bath",
        "Bed": "paper small big soft",
        "Cabinet": "dish cookware spice bottle tool decor bath",
        "CoffeeMachine": "dish",
        "CoffeeTable": f"dish {_EVERYDAY}",
        "CounterTop": f"{_KITCHENWARE} decor bath",
        "Desk": f"dish {_EVERYDAY}",
        "DiningTable": f"{_KITCHENWARE} {_EVERYDAY}",
        "Drawer": "cutlery tool spice paper small decor bath",
        "Dresser": f"dish {_EVERYDAY}",
        "Fridge": "food dish cookware bottle",
        "GarbageCan": "food paper small bath",
        "HandTowelHolder": "towel",
        "Microwave": "food dish",
        "Safe": "small decor",
        "Shelf": f"dish spice bottle {_EVERYDAY} bath",
        "SideTable": f"{_KITCHENWARE} {_EVERYDAY} bath",
        "SinkBasin": "food dish cookware cutlery tool bath",
        "Sofa": "paper small big soft",
        "StoveBurner": "cookware",
        "Toaster": "food",
        "Toilet": "bath decor",
        "ToiletPaperHanger": "bath",
        "TowelHolder": "towel",
        "TVStand": _EVERYDAY,
    }.items()
}
"""Receptacle type to the item types it can contain."""

OPENABLE = frozenset({"Cabinet", "Drawer", "Fridge", "Microwave", "Safe"})
CONTAINERS = frozenset({"Bowl", "Box", "Cup", "Mug", "Pan", "Plate", "Pot"})
LAMPS = ("DeskLamp", "FloorLamp")
LAMP_HOLDERS = ("CoffeeTable", "Desk", "Dresser", "SideTable", "TVStand")

_HEATABLE = "Apple Bread Cup Egg Mug Plate Potato Tomato"
ABILITIES: dict[str, frozenset[str]] = {
    "cleanable": frozenset(
        [
            "Apple",
            "Bowl",
            "ButterKnife",
            "Cloth",
            "Cup",
            "DishSponge",
            "Egg",
            "Fork",
            "Kettle",
            "Knife",
            "Ladle",
            "Lettuce",
            "Mug",
            "Pan",
            "Plate",
            "Potato",
            "Pot",
            "SoapBar",
            "Spatula",
            "Spoon",
            "Tomato",
        ]
    ),
    "heatable": frozenset(_HEATABLE.split()),
    "coolable": frozenset(f"{_HEATABLE} Bowl Lettuce Pan Pot WineBottle".split()),
    "sliceable": frozenset(["Apple", "Bread", "Egg", "Lettuce", "Potato", "Tomato"]),
}
"""Ability to the item types that have it; every item but a lamp can be picked up."""


@dataclass(frozen=True, slots=True)
class Room:
    """A kind of room: what it has once, what fills it up, and what lies about."""

    once: tuple[str, ...]
    fill: tuple[str, ...]
    """Types drawn from until the room is full; repeats are weights."""
    groups: tuple[str, ...]

    @property
    def items(self) -> tuple[str, ...]:
        """Item types found in this room."""
        return tuple(item for group in self.groups for item in _GROUPS[group])


def _room(once: str, fill: str, groups: str) -> Room:
    return Room(tuple(once.split()), tuple(fill.split()), tuple(groups.split()))


ROOMS: dict[str, Room] = {
    "kitchen": _room(
        "CounterTop Fridge Microwave SinkBasin DiningTable CoffeeMachine Toaster GarbageCan",
        "Cabinet Cabinet Cabinet Drawer Drawer Drawer CounterTop Shelf SideTable StoveBurner StoveBurner",
        _KITCHENWARE,
    ),
    "living room": _room(
        "CoffeeTable Sofa TVStand SideTable ArmChair GarbageCan Safe",
        "Drawer Drawer Shelf Shelf SideTable ArmChair Cabinet Dresser",
        f"{_EVERYDAY} soft",
    ),
    "bedroom": _room(
        "Bed Desk SideTable Dresser GarbageCan Safe",
        "Drawer Drawer Drawer Shelf Shelf SideTable Cabinet",
        f"dish {_EVERYDAY} soft",
    ),
    "bathroom": _room(
        "CounterTop SinkBasin Toilet BathtubBasin GarbageCan HandTowelHolder TowelHolder ToiletPaperHanger",
        "Cabinet Cabinet Drawer Drawer Shelf SideTable",
        "bath towel",
    ),
}

DEMO: dict[str, str] = {
    "Apple": "DiningTable",
    "Bread": "CounterTop",
    "Cup": "Shelf",
    "Egg": "Fridge",
    "Mug": "Cabinet",
    "Plate": "Cabinet",
    "Potato": "CounterTop",
    "Tomato": "Fridge",
}
"""The eight kinds of things in demo kitchens, each with the receptacle it is usually found at (learning.md 2)."""
