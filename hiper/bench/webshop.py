"""WebShop measured in this process, on one core: opening, resetting, stepping, searching, memory.

What is played is written down before it is timed: for each goal the walkthrough, and a random player that clicks what
is listed, searches words of its instruction, and now and then does what is not on offer. Steps are measured twice: the
first time through, when every page and most searches are new, and again, as in a group that plays one task.
"""

import random
import statistics
import time

from hiper.bench.timing import BenchOptions, Figure, Say, Target, bytes_each, timed
from hiper.envs.webshop.engine import WebShopEpisode
from hiper.envs.webshop.files import find_files
from hiper.envs.webshop.shop import Shop
from hiper.envs.webshop.shopper import walkthrough
from hiper.envs.webshop.source import WebShopFiles
from hiper.envs.webshop.synthetic import SyntheticWebShop
from hiper.envs.webshop.tasks import ShopTasks
from hiper.errors import DataError

__all__ = ["measure"]

_GOALS = 200
_EPISODES = 4
_STEPS = 15
_QUERIES = 500
_SESSIONS = 500
_JUNK = 0.1

Play = tuple[int, list[str]]
"""Number of a goal, and actions."""


def measure(options: BenchOptions, say: Say) -> tuple[list[Figure], dict[str, object]]:
    """Figures over repeats, and what was played. Real products if `options.data` has some, else generated ones."""
    figures = _Figures()
    rng = random.Random(options.seed)
    tasks = _open(options)
    plays = _draw_plays(tasks, options, rng)
    steps = sum(len(actions) for _, actions in plays)
    for repeat in range(options.repeats):
        say(f"WebShop: repeat {repeat + 1} of {options.repeats}")
        _measure_once(figures, plays, options, rng)
    sizes: dict[str, object] = {"catalogue": tasks.version, "products": len(tasks.shop.catalogue), "steps": steps}
    return figures.all(), sizes


def _measure_once(figures: "_Figures", plays: list[Play], options: BenchOptions, rng: random.Random) -> None:
    steps = sum(len(actions) for _, actions in plays)
    started = time.perf_counter()
    shop = _open(options).shop
    shop.find("the index is built at the first search")
    figures.add("webshop.open", "ms", 1e3 * (time.perf_counter() - started))
    figures.add("webshop.steps_first_time", "steps/s", steps / timed(lambda: _play(shop, plays)))
    again = statistics.median(timed(lambda: _play(shop, plays)) for _ in range(3))
    figures.add("webshop.steps", "steps/s", steps / again, Target(20_000))
    reset = timed(lambda: [WebShopEpisode(shop, number).reset() for number, _ in plays])
    figures.add("webshop.reset", "ms", 1e3 * reset / len(plays), Target(0.2, at_most=True))
    queries = {shop.goals[rng.randrange(len(shop.goals))].instruction_text for _ in range(_QUERIES)}
    figures.add("webshop.search", "ms", 1e3 * timed(lambda: [shop.find(query) for query in queries]) / len(queries))
    memory = _session_bytes(shop, plays, options.times(_SESSIONS))
    figures.add("webshop.session_memory", "bytes", memory, Target(50_000, at_most=True))


class _Figures:
    """Figures that grow by a value a repeat."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}
        self._figures: list[Figure] = []

    def add(self, name: str, unit: str, value: float, target: Target | None = None) -> None:
        if name not in self._values:
            self._values[name] = []
            self._figures.append(Figure(name, unit, self._values[name], "repeats", target))
        self._values[name].append(value)

    def all(self) -> list[Figure]:
        return self._figures


def _open(options: BenchOptions) -> ShopTasks:
    if options.data is not None:
        try:
            find_files(options.data)
        except DataError:  # it may hold ALFWorld's games only
            return SyntheticWebShop()
        return WebShopFiles(options.data)
    return SyntheticWebShop()


def _draw_plays(tasks: ShopTasks, options: BenchOptions, rng: random.Random) -> list[Play]:
    goals, shop = tasks.shop.goals, tasks.shop
    plays: list[Play] = []
    for number in rng.sample(range(len(goals)), min(options.times(_GOALS), len(goals))):
        plan = walkthrough(shop, goals[number])
        plays += [(number, plan)] if plan else []
        plays += [(number, _wander(shop, number, rng)) for _ in range(_EPISODES)]
    return plays


def _wander(shop: Shop, number: int, rng: random.Random) -> list[str]:
    """Actions of a random player, to the end of its episode."""
    episode = WebShopEpisode(shop, number, max_steps=_STEPS)
    shown = episode.reset()
    words = episode.goal.instruction_text.split()
    played: list[str] = []
    while not shown.done:
        if shown.has_search_bar:
            action = f"search[{' '.join(rng.sample(words, min(3, len(words))))}]"
        else:
            action = f"click[{rng.choice(shown.admissible)}]"
        played.append("look around" if rng.random() < _JUNK else action)
        shown = episode.step(played[-1])
    return played


def _play(shop: Shop, plays: list[Play]) -> None:
    for number, actions in plays:
        episode = WebShopEpisode(shop, number, max_steps=0)
        for action in actions:
            episode.step(action)


def _session_bytes(shop: Shop, plays: list[Play], sessions: int) -> float:
    """Memory of a session in the middle of its episode, its last answer included; the shop is shared."""

    def session(place: int) -> object:
        number, actions = plays[place % len(plays)]
        episode = WebShopEpisode(shop, number)
        return episode, [episode.step(action) for action in actions[: len(actions) // 2]][-1:]

    return bytes_each(session, sessions)
