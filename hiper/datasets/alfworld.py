"""Looking at every ALFWorld game file: is it the published one, can it be played, is one missing?

A file with the published bytes is good as it is. Any other is parsed: written again it has the published content; else
it is altered, of a version that is not played here, broken, or a game that was never published.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hiper.datasets.findings import Finding, Inspection
from hiper.durable import JsonValue
from hiper.envs.alfworld.game import RefusedVersionError
from hiper.envs.alfworld.model import Game
from hiper.envs.alfworld.source import AlfworldFiles
from hiper.envs.alfworld.storage import GAME_FILE, SPLITS
from hiper.envs.panels import PanelTask, load_panel
from hiper.errors import DataError
from hiper.vocabulary import EnvName

__all__ = ["inspect_alfworld"]

_PUBLISHED = "2.1.2"


@dataclass(slots=True)
class _Tally:
    games: dict[str, Counter[str]] = field(default_factory=dict)
    """Playable games by split and type."""
    versions: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    as_published: int = 0
    written_again: int = 0
    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def count(self, split: str, task_type: str, version: str) -> None:
        self.games.setdefault(split, Counter())[task_type] += 1
        self.versions[version] += 1


def inspect_alfworld(path: Path, on_game: Callable[[int, int], None] = lambda _done, _total: None) -> Inspection:
    """Look at all games at `path`. `on_game` is told how many of how many are done. Raises `DataError` for none."""
    source = AlfworldFiles(path, cache_bytes=0)
    published = _published_games()
    here = {split: source.ids(split) for split in SPLITS}
    total, done, tally = sum(map(len, here.values())), 0, _Tally()
    for split, ids in here.items():
        for task_id in ids:
            _look_at(source, task_id, published.get(task_id), tally)
            done += 1
            on_game(done, total)
        _look_for_missing(split, ids, published, tally)
    return _inspection(path, tally, source.skipped)


def _published_games() -> dict[str, PanelTask]:
    panels = (load_panel(f"alfworld-{_PUBLISHED}-{split}") for split in SPLITS)
    return {task.id: task for panel in panels for task in panel.tasks}


def _look_at(source: AlfworldFiles, task_id: str, published: PanelTask | None, tally: _Tally) -> None:
    file = f"{task_id}/{GAME_FILE}"
    try:
        pin = source.pin(task_id)
        if published is not None and pin.sha256 == published.sha256:
            tally.as_published += 1
            tally.count(pin.split, pin.task_type, _PUBLISHED)
            return
        game = source.game(task_id)
    except RefusedVersionError as error:
        tally.refused[error.version] += 1
        tally.problems.append(Finding(file, f"version {error.version} is not played here"))
        return
    except DataError as error:
        tally.problems.append(Finding(file, f"broken: {error.message}"))
        return
    tally.count(pin.split, game.task_type, game.version)
    _compare(file, game, published, tally)


def _compare(file: str, game: Game, published: PanelTask | None, tally: _Tally) -> None:
    if published is None:
        tally.notes.append(Finding(file, "not one of the published games"))
    elif game.content_sha256 == published.content_sha256:
        tally.written_again += 1
    else:
        tally.problems.append(Finding(file, f"altered: sha256 {game.sha256[:16]}, published {published.sha256[:16]}"))


def _look_for_missing(split: str, ids: list[str], published: Mapping[str, PanelTask], tally: _Tally) -> None:
    """A split of which some games are here should have all of them."""
    expected = {task_id for task_id in published if task_id.startswith(f"{split}/")}
    if expected & set(ids):
        for task_id in sorted(expected - set(ids)):
            tally.problems.append(Finding(f"{task_id}/{GAME_FILE}", "missing"))


def _inspection(path: Path, tally: _Tally, skipped: Mapping[str, int]) -> Inspection:
    games = {split: dict(sorted(types.items())) for split, types in tally.games.items()}
    facts: dict[str, JsonValue] = {
        "games": sum(map(sum, (types.values() for types in games.values()))),
        "splits": games,
        "versions": dict(tally.versions),
        "refused_versions": dict(tally.refused),
        "as_published": tally.as_published,
        "written_again": tally.written_again,
        "skipped": dict(skipped),
    }
    summary = [*_table(tally.games), f"versions: {_listed(tally.versions) or 'none'}"]
    summary.append(f"as published: {tally.as_published}; written again with the same content: {tally.written_again}")
    if tally.refused:
        summary.append(f"versions refused: {_listed(tally.refused)}")
    if skipped:
        summary.append(f"left out as the original does: {_listed(skipped)}")
    return Inspection(EnvName.ALFWORLD, str(path), facts, summary, tally.problems, tally.notes)


def _table(games: Mapping[str, Counter[str]]) -> list[str]:
    """Games by type and split, one type a line."""
    types = sorted({name for counts in games.values() for name in counts})
    width = max(map(len, (*types, "task type")))
    rows = [("task type", *games)]
    rows += [(name, *(str(counts[name]) for counts in games.values())) for name in types]
    rows.append(("all", *(str(counts.total()) for counts in games.values())))
    return [f"{first:{width}}" + "".join(f"{cell:>14}" for cell in cells) for first, *cells in rows]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
