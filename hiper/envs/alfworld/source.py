"""ALFWorld tasks from real game files.

A task id is `<split>/<task>/<trial>`. Games are parsed when first asked for and kept in a bounded cache; a parsed game
is immutable and shared by all its sessions.
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path, PurePosixPath

from hiper.envs.alfworld.cache import DEFAULT_CACHE_BYTES, GameCache
from hiper.envs.alfworld.engine import AlfworldEpisode
from hiper.envs.alfworld.game import parse_game
from hiper.envs.alfworld.model import Game
from hiper.envs.alfworld.storage import GAME_FILE, SPLITS, open_storage
from hiper.envs.alfworld.versions import fingerprint
from hiper.envs.base import TaskInfo, TaskPin
from hiper.errors import DataError
from hiper.vocabulary import EnvName

__all__ = ["AlfworldFiles", "describe_game"]

_TASK_PREFIX = "Your task is to: "


def describe_game(task_id: str, split: str, game: Game) -> TaskInfo:
    """The task of a parsed game."""
    return TaskInfo(
        task_id=task_id,
        env=EnvName.ALFWORLD.value,
        task_type=game.task_type,
        split=split,
        sha256=game.sha256,
        goal=game.task.removeprefix(_TASK_PREFIX),
        shortest_plan=game.shortest_plan,
    )


class AlfworldFiles:
    """The playable games below `path` (see `storage.open_storage`); `cache_bytes` of game files stay parsed.

    Raises `DataError` when `path` holds no games. Left-out games are counted in `skipped`.
    """

    env = EnvName.ALFWORLD.value

    def __init__(self, path: str | Path, *, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._storage = open_storage(Path(path))
        self._ids: dict[str, list[str]] = {}
        self._sha256: dict[str, str] = {}
        self.game = GameCache(self._load, cache_bytes)
        """Parsed game of a task id."""

    @cached_property
    def version(self) -> str:
        """Version of the data, as its first game says."""
        return self.game(self.ids(self.splits()[0])[0]).version

    @property
    def skipped(self) -> dict[str, int]:
        """Games left out as the original does, by reason; complete for the splits listed so far."""
        return dict(sorted(self._storage.skipped.items()))

    def splits(self) -> tuple[str, ...]:
        """The splits that have games."""
        return tuple(split for split in SPLITS if self.ids(split))

    def ids(self, split: str) -> list[str]:
        """Task ids of `split`, sorted."""
        if split not in SPLITS:
            raise DataError(f"ALFWorld has no split {split!r}", f"use one of {', '.join(SPLITS)}")
        if split not in self._ids:
            self._ids[split] = sorted(self._storage.ids(split))
        return list(self._ids[split])

    def resolve(self, task: str) -> str:
        """Task id of an id or of a game file's path, absolute or below the folder or inside the archive."""
        parts = PurePosixPath(task).parts
        if parts[-1:] == (GAME_FILE,):
            parts = parts[:-1]
        if len(parts) < 3 or parts[-3] not in SPLITS:
            raise DataError(
                f"{task!r} is not an ALFWorld task", f"write <split>/<task>/<trial> or the path of a {GAME_FILE}"
            )
        return "/".join(parts[-3:])

    def fingerprint(self) -> dict[str, str]:
        """Version, and hashes of the domain and grammar texts, as the first game has them."""
        version, first = self.version, self.ids(self.splits()[0])[0]  # the version says that the file can be used
        document = json.loads(self._read(first))
        domain, grammar = fingerprint(document["pddl_domain"], document["grammar"])
        return {"version": version, "domain_sha256": domain, "grammar_sha256": grammar}

    def pin(self, task_id: str, *, full: bool = False) -> TaskPin:
        """Type and split by the folder's name, hash by the file's bytes, kept from then on; a full pin parses."""
        split, _, name = task_id.partition("/")
        if full:
            game = self.game(task_id)
            self._sha256[task_id] = game.sha256
            return TaskPin(task_id, game.task_type, split, game.sha256, game.content_sha256)
        if task_id not in self._sha256:
            self._sha256[task_id] = hashlib.sha256(self._read(task_id)).hexdigest()
        return TaskPin(task_id, name.partition("-")[0], split, self._sha256[task_id])

    def describe(self, task_id: str) -> TaskInfo:
        """Describe one task."""
        return describe_game(task_id, task_id.partition("/")[0], self.game(task_id))

    def open(self, task_id: str, *, seed: int = 0, max_steps: int = 50) -> AlfworldEpisode:  # noqa: ARG002
        """Begin an episode. ALFWorld draws no random numbers: `seed` changes nothing."""
        return AlfworldEpisode(self.game(task_id), max_steps)

    def _load(self, task_id: str) -> Game:
        return parse_game(self._read(task_id), f"{self._storage}: {task_id}")

    def _read(self, task_id: str) -> bytes:
        data = self._storage.read(task_id)
        if data is None:
            raise DataError(f"{self._storage}: no game {task_id!r}", "list the games with `hiper env tasks`")
        return data
