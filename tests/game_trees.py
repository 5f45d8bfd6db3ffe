"""Trees of generated ALFWorld games, as a download leaves them."""

from pathlib import Path

from hiper.envs.alfworld.generator import generate_json
from hiper.envs.alfworld.layout import GameSpec
from hiper.envs.alfworld.model import TaskType


def game_id(split: str, number: int) -> str:
    return f"{split}/pick_and_place_simple-Thing-None-Place-{number}/trial_T{number}"


def game_file(tree: Path, split: str, number: int) -> Path:
    return tree / "json_2.1.1" / game_id(split, number) / "game.tw-pddl"


def game_text(seed: int) -> str:
    return generate_json(GameSpec("demo", TaskType.PLACE, seed))


def write_game(tree: Path, split: str, number: int, seed: int | None = None) -> Path:
    """Game `number` of `split`, by default generated with that number as its seed."""
    path = game_file(tree, split, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(game_text(number if seed is None else seed))
    return path
