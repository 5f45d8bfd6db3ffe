"""Making a generated game playable by the original: its domain and grammar texts come from the user's own files.

HiPER ships neither text. They are taken from a folder with `alfred.pddl` and `alfred.twl2` (`alfworld-download` leaves
one called `logic`), or from any real game file; in the second case our own engine plays the exported file too.
"""

import json
from pathlib import Path

from hiper.envs.alfworld.game import parse_game
from hiper.envs.alfworld.generator import generate_json, read_spec
from hiper.envs.alfworld.model import ChainGoal
from hiper.envs.alfworld.versions import replace_task
from hiper.errors import DataError

__all__ = ["export_game"]

_GET_LOGIC = "name a folder with alfred.pddl and alfred.twl2, or a game.tw-pddl"


def export_game(task_id: str, logic: Path) -> str:
    """The game file of a generated task, its empty texts filled from `logic`.

    Raises `DataError` for an unknown task, for texts that cannot be used, and for horizon games: the original has no
    order facts.
    """
    text = generate_json(read_spec(task_id))
    game = parse_game(text, task_id)
    if isinstance(game.goal, ChainGoal):
        raise DataError(f"{task_id}: the original cannot play chained sub-tasks", "export a game of its six types")
    domain, grammar = _read_logic(logic)
    try:
        filled = {**json.loads(text), "pddl_domain": domain, "grammar": replace_task(grammar, game.task)}
    except ValueError as error:
        raise DataError(f"{logic}: {error}", _GET_LOGIC) from error
    return json.dumps(filled, indent=1)


def _read_logic(path: Path) -> tuple[str, str]:
    """Domain and grammar."""
    try:
        if path.is_dir():
            folder = path / "logic" if (path / "logic").is_dir() else path
            return (folder / "alfred.pddl").read_text("utf-8"), (folder / "alfred.twl2").read_text("utf-8")
        document = json.loads(path.read_bytes().decode())
        return str(document["pddl_domain"]), str(document["grammar"])
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}", _GET_LOGIC) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a game file: {error}", _GET_LOGIC) from error
