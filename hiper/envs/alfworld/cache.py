"""Parsed games, shared by all sessions of a process and bounded by bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from weakref import WeakValueDictionary

from hiper.envs.alfworld.model import Game

__all__ = ["DEFAULT_CACHE_BYTES", "GameCache"]

DEFAULT_CACHE_BYTES = 384 * 2**20
"""Room for all 4,027 real games, whose files have 344 MiB; parsed they take about half of that (measured)."""


class GameCache:
    """Games by task id; called with one, it returns the game, loading it if need be.

    A game in use is never parsed twice. Games out of use are kept, least recently asked for dropped first, as long as
    their files have at most `max_bytes` in all. Safe to share between threads.
    """

    def __init__(self, load: Callable[[str], Game], max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._load = load
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._alive: WeakValueDictionary[str, Game] = WeakValueDictionary()
        self._kept: OrderedDict[str, Game] = OrderedDict()
        self.kept_bytes = 0
        """Size of the files of the games that are kept whether in use or not."""

    def __call__(self, task_id: str) -> Game:
        """Return the game of `task_id`. What loading raises is passed on, and nothing is kept."""
        with self._lock:
            game = self._alive.get(task_id)
            if game is not None and task_id in self._kept:
                self._kept.move_to_end(task_id)
                return game
        if game is None:
            game = self._load(task_id)  # unlocked: a slow file must not hold up games that are here
        with self._lock:
            return self._keep(task_id, self._alive.setdefault(task_id, game))

    def _keep(self, task_id: str, game: Game) -> Game:
        if task_id not in self._kept:
            self._kept[task_id] = game
            self.kept_bytes += game.file_bytes
        while self.kept_bytes > self._max_bytes and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self.kept_bytes -= dropped.file_bytes
        return game
