"""Our engine against the original, live: random games and random players, where the extra `oracle` is installed.

The shared recordings (tests/golden) need no installation; this test reaches what nobody recorded. `ORACLE_SEED`
draws other games, `ORACLE_GAMES` more of them.
"""

import os
import random
from pathlib import Path

import pytest

from hiper.envs.alfworld.engine import AlfworldEpisode
from hiper.envs.alfworld.export import export_game
from hiper.envs.alfworld.game import parse_game
from hiper.envs.alfworld.layout import DEMO_SIZE, DEMO_TYPES, GameSpec
from hiper.envs.alfworld.model import TaskType
from hiper.envs.alfworld.original import find_original, play_original
from hiper.envs.alfworld.storage import SPLITS, open_storage

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HIPER_DATA", ROOT / "../shared/data")) / "alfworld"
SEED = int(os.environ.get("ORACLE_SEED", "0"))
GAMES = int(os.environ.get("ORACLE_GAMES", "20"))
JUNK = ("", "dance", "LOOK", "go to", "take apple from", "look around", "examine the fridge", "put mug 1 in fridge 1")
RARE = ("take", "move", "slice", "heat", "cool", "clean", "use")
STEPS = 25

pytestmark = [
    pytest.mark.slow,
    pytest.mark.data,
    pytest.mark.skipif(find_original() is None, reason="the original is not installed: pip install 'hiper-rl[oracle]'"),
    pytest.mark.skipif(not DATA.is_dir(), reason="no ALFWorld game files: set HIPER_DATA or have ../shared/data"),
]


def generated(rng: random.Random, like: bytes, folder: Path) -> bytes:
    """A generated game with the texts of a real one."""
    real = folder / "real.tw-pddl"
    real.write_bytes(like)
    size = rng.choice((DEMO_SIZE, 5, 12, 30))
    kind = rng.choice(DEMO_TYPES if size == DEMO_SIZE else tuple(TaskType))
    return export_game(GameSpec(size, kind, rng.randrange(10**6)).task_id, real).encode()


def wander(game: AlfworldEpisode, rng: random.Random) -> list[str]:
    """Some of the walkthrough, then anything, now and then nonsense; the things in hand are used whenever possible."""
    shown = game.reset()
    actions = list(game.game.walkthrough[: rng.randrange(len(game.game.walkthrough))])
    for action in actions:
        shown = game.step(action)
    while len(actions) < STEPS and not shown.done:
        rare = [
            c for c in shown.admissible if c.split()[0] in ("take", "move", "slice", "heat", "cool", "clean", "use")
        ]
        choice = rng.random()
        action = rng.choice(JUNK if choice < 0.1 else rare if rare and choice < 0.6 else shown.admissible)
        shown = game.step(action)
        actions.append(action)
    return actions


@pytest.mark.parametrize("number", range(GAMES))
def test_the_original_shows_the_same(number: int, tmp_path: Path) -> None:
    rng = random.Random(f"{SEED}/{number}")
    storage = open_storage(DATA)
    game_id = rng.choice(sorted(storage.ids(rng.choice(SPLITS))))
    data = storage.read(game_id)
    assert data is not None
    if number % 4 == 3:
        data, game_id = generated(rng, data, tmp_path), "generated"
    file = tmp_path / "game.tw-pddl"
    file.write_bytes(data)
    game = parse_game(data, game_id)
    assert game.version == "2.1.2"
    plays = [list(game.walkthrough), wander(AlfworldEpisode(game, 0), rng)]
    original = play_original(file, plays)
    for actions, shown in zip(plays, original.plays, strict=True):
        ours = AlfworldEpisode(game, 0)
        for step, (action, theirs) in enumerate(zip([None, *actions], shown, strict=True)):
            result = ours.reset() if action is None else ours.step(action)
            where = f"{game_id} step {step}: {action!r} of {actions}"
            assert result.observation == theirs.observation, where
            assert result.admissible == theirs.admissible, where
            assert result.won == theirs.won, where
