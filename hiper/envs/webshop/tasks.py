"""The tasks of a shop: its goals by id, divided into splits that do not share what is evaluated (spec 5).

A task id is `<catalogue>/<asin>/<16 hex>`, where the hex begins the goal's hash; `goal:N` also names the N-th goal in
the order of play, from 0. Goals that ask for the same are one task.

Splits, where the first `held_out` goals are those that peers evaluate on:
- `test`: these.
- `train`: the others, without those for a product of `test`: nothing that is evaluated has been bought in training.
- `train_compat`: all others, as peers train; its products occur in `test` too, its goals do not.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from hiper.envs.base import TaskInfo, TaskPin
from hiper.envs.webshop.engine import WebShopEpisode
from hiper.envs.webshop.goals import goal_sha256
from hiper.envs.webshop.model import Goal
from hiper.envs.webshop.shop import Shop
from hiper.envs.webshop.shopper import wanted_options
from hiper.envs.webshop.text import Observation
from hiper.errors import DataError
from hiper.vocabulary import EnvName

__all__ = ["HELD_OUT", "SPLITS", "ShopTasks", "TaskSettings"]

SPLITS = ("train", "train_compat", "test")
HELD_OUT = 500
"""Goals the original and its peers evaluate on."""

_HASH_DIGITS = 16
_TASK_ID = re.compile(rf"(?P<catalogue>[^/]+)/(?P<asin>[^/]+)/(?P<digits>[0-9a-f]{{{_HASH_DIGITS}}})")
_LIST_TASKS = "list the tasks with `hiper env tasks --env webshop`"


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """What the tasks of a shop are called, and how they are shown."""

    catalogue: str
    """First part of the ids, e.g. `webshop-1000`."""
    version: str
    held_out: int = HELD_OUT
    """Goals of `test`; never more than half of all."""
    listed: int = 100_000
    """Goals that are divided into splits, the first ones in the order of play; the others can be played by id."""
    observation: Observation = Observation.TEXT


class ShopTasks:
    """The goals of `shop` as a `TaskSource`. `shared` is what a panel pins of all of them together."""

    env = EnvName.WEBSHOP.value

    def __init__(self, shop: Shop, settings: TaskSettings, shared: Mapping[str, str]) -> None:
        self.shop = shop
        self._settings = settings
        self._shared = shared

    @property
    def version(self) -> str:
        """Which catalogue, and whose goals."""
        return self._settings.version

    def splits(self) -> tuple[str, ...]:
        """The splits that have tasks."""
        return tuple(split for split in SPLITS if self._listing.ids[split])

    def ids(self, split: str) -> list[str]:
        """Task ids of `split`, sorted."""
        if split not in SPLITS:
            raise DataError(f"WebShop has no split {split!r}", f"use one of {', '.join(SPLITS)}")
        return list(self._listing.ids[split])

    def resolve(self, task: str) -> str:
        """Task id of an id or of `goal:N`."""
        kind, _, number = task.partition(":")
        if kind == "goal" and number.isascii() and number.isdigit():
            if len(number) > len(str(len(self.shop.goals))) or int(number) >= len(self.shop.goals):
                raise DataError(f"there is no {task[:40]}", f"goals here: goal:0 to goal:{len(self.shop.goals) - 1}")
            return self._task_id(self.shop.goals[int(number)])
        match = _TASK_ID.fullmatch(task)
        if match is None:
            raise DataError(
                f"{task[:80]!r} is not a WebShop task", f"write <catalogue>/<asin>/<16 hex> or goal:N; {_LIST_TASKS}"
            )
        if match["catalogue"] != self._settings.catalogue:
            raise DataError(f"{task[:80]} is not from the catalogue {self._settings.catalogue}", _LIST_TASKS)
        return task

    def fingerprint(self) -> Mapping[str, str]:
        """Version, hashes of the data, nouns and colour words, and the seeds of what is drawn."""
        return {"version": self.version, **self._shared}

    def pin(self, task_id: str, *, full: bool = False) -> TaskPin:
        """Identify a goal by its hash; a full pin adds price, price limit and the best reward there is."""
        goal = self.shop.goals[self._number(task_id)]
        figures = self._figures(goal) if full else {}
        return TaskPin(task_id, goal.category, self._split(task_id, goal), goal_sha256(goal), figures=figures)

    def describe(self, task_id: str) -> TaskInfo:
        """Describe one task; its type is the category of its product."""
        goal = self.shop.goals[self._number(task_id)]
        split = self._split(task_id, goal)
        return TaskInfo(task_id, self.env, goal.category, split, goal_sha256(goal), goal.instruction_text)

    def open(self, task_id: str, *, seed: int = 0, max_steps: int = 50) -> WebShopEpisode:
        """Begin an episode. `seed` decides what the search for random products finds."""
        number = self._number(task_id)
        return WebShopEpisode(self.shop, number, seed=seed, max_steps=max_steps, observation=self._settings.observation)

    @cached_property
    def _listing(self) -> "_Listing":
        """Built when first asked for: every goal is hashed once."""
        goals = self.shop.goals
        held_out = min(self._settings.held_out, len(goals) // 2)
        numbers: dict[str, int] = {}
        for number in goals.by_product(self._settings.listed):
            task_id = self._task_id(goals[number])
            numbers[task_id] = min(number, numbers.get(task_id, number))
        test = sorted(task_id for task_id, number in numbers.items() if number < held_out)
        others = sorted(task_id for task_id, number in numbers.items() if number >= held_out)
        products = frozenset(map(_asin, test))
        train = [task_id for task_id in others if _asin(task_id) not in products]
        return _Listing(numbers, {"train": train, "train_compat": others, "test": test}, held_out, products)

    def _task_id(self, goal: Goal) -> str:
        return f"{self._settings.catalogue}/{goal.asin}/{goal_sha256(goal)[:_HASH_DIGITS]}"

    def _number(self, task_id: str) -> int:
        """Number of a goal: listed, if the listing has been built, else looked for among those of its product."""
        listing = self.__dict__.get("_listing")
        if listing is not None and task_id in listing.numbers:
            return int(listing.numbers[task_id])
        match = _TASK_ID.fullmatch(self.resolve(task_id))
        number = self.shop.goals.find(match["asin"], match["digits"]) if match else None
        if number is None:
            raise DataError(f"no task {task_id!r} in {self._settings.catalogue}", _LIST_TASKS)
        return number

    def _split(self, task_id: str, goal: Goal) -> str:
        """`train_compat` for a goal that is in no other split."""
        listing = self._listing
        if listing.numbers.get(task_id, listing.held_out) < listing.held_out:
            return "test"
        return "train_compat" if goal.asin in listing.products else "train"

    def _figures(self, goal: Goal) -> dict[str, float]:
        number = self.shop.catalogue.store.find(goal.asin)
        assert number is not None, "goals are made of the catalogue's products"
        options = wanted_options(goal, self.shop.catalogue.product(number))
        ceiling = self.shop.judge(goal, number, options).score
        return {"price": self.shop.price(number), "price_upper": float(goal.price_upper), "ceiling": ceiling}


def _asin(task_id: str) -> str:
    return task_id.split("/")[1]


@dataclass(frozen=True, slots=True)
class _Listing:
    """Tasks by id and split."""

    numbers: dict[str, int]
    """Number of every listed goal."""
    ids: dict[str, list[str]]
    """Sorted ids of every split."""
    held_out: int
    products: frozenset[str]
    """Asins of `test`."""
