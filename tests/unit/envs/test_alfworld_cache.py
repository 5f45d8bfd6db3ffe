"""The cache of parsed games: shared, bounded by bytes, safe between threads."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hiper.envs.alfworld.cache import GameCache
from hiper.envs.alfworld.generator import generate_game
from hiper.envs.alfworld.layout import GameSpec
from hiper.envs.alfworld.model import Game, TaskType
from hiper.errors import DataError


class Loader:
    """Makes a small game for a number and counts how often."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def __call__(self, task_id: str) -> Game:
        self.loaded.append(task_id)
        if task_id == "bad":
            raise DataError("no such game")
        return generate_game(GameSpec(3, TaskType.PLACE, int(task_id)))


SIZE = max(Loader()(str(number)).file_bytes for number in range(10))


def test_a_game_is_loaded_once_and_shared() -> None:
    load = Loader()
    cache = GameCache(load)
    assert cache("1") is cache("1")
    assert load.loaded == ["1"]
    assert cache.kept_bytes == cache("1").file_bytes


def test_games_out_of_use_are_dropped_least_recently_used_first() -> None:
    load = Loader()
    cache = GameCache(load, max_bytes=2 * SIZE)
    for number in "1213":
        cache(number)
    gc.collect()
    cache("1")
    assert load.loaded == ["1", "2", "3"]
    cache("2")
    assert load.loaded == ["1", "2", "3", "2"]
    assert cache.kept_bytes <= 2 * SIZE


def test_a_game_in_use_is_never_parsed_twice_however_small_the_cache() -> None:
    load = Loader()
    cache = GameCache(load, max_bytes=1)
    held = [cache(str(number)) for number in range(10)]
    assert [cache(str(number)) for number in range(10)] == held
    assert len(load.loaded) == 10
    assert cache.kept_bytes <= SIZE
    held.clear()
    gc.collect()
    cache("0")
    assert len(load.loaded) == 11


def test_what_cannot_be_loaded_is_not_kept() -> None:
    cache = GameCache(Loader())
    for _ in range(2):
        with pytest.raises(DataError, match="no such game"):
            cache("bad")
    assert cache.kept_bytes == 0


def test_threads_that_ask_at_once_get_the_same_game() -> None:
    barrier = threading.Barrier(8)
    make = Loader()

    def load(task_id: str) -> Game:
        barrier.wait(10)  # all of them are loading before the first one is done
        return make(task_id)

    cache = GameCache(load)
    with ThreadPoolExecutor(8) as pool:
        games = list(pool.map(cache, ["5"] * 8))
    assert len({id(game) for game in games}) == 1
    assert cache.kept_bytes == games[0].file_bytes
