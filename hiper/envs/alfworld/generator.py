"""Generated games as game files that the real loader reads, with a walkthrough that has been played.

The bytes are a function of the specification alone. The domain text is empty and the grammar holds only the task
sentence and the help text; rules and other texts are those of version 2.1.2.
"""

import hashlib
import json

from hiper.envs.alfworld.game import parse_game
from hiper.envs.alfworld.horizon import HORIZON_PREFIX, HorizonSpec, chain_sentence, draw_chain
from hiper.envs.alfworld.layout import GameSpec, Task, draw_game
from hiper.envs.alfworld.model import ChainGoal, Game, TaskType
from hiper.envs.alfworld.versions import synthetic_grammar
from hiper.envs.alfworld.walkthrough import solve
from hiper.envs.alfworld.writing import problem_text

__all__ = ["content_key", "generate_game", "generate_json", "read_spec"]

_SENTENCES: dict[TaskType, tuple[str, str]] = {
    TaskType.PLACE: ("put a {o} in {r}.", "put some {o} on {r}."),
    TaskType.CLEAN: ("put a clean {o} in {r}.", "clean some {o} and put it in {r}."),
    TaskType.HEAT: ("put a hot {o} in {r}.", "heat some {o} and put it in {r}."),
    TaskType.COOL: ("put a cool {o} in {r}.", "cool some {o} and put it in {r}."),
    TaskType.TWO: ("put two {o} in {r}.", "find two {o} and put them in {r}."),
    TaskType.LIGHT: ("look at {o} under the {r}.", "examine the {o} with the {r}."),
}
_TREATED = {
    TaskType.CLEAN: "(cleanable ?o) (isClean ?o) ",
    TaskType.HEAT: "(heatable ?o) (isHot ?o) ",
    TaskType.COOL: "(coolable ?o) (isCool ?o) ",
}
_HELP = """
Available commands:
  look:                             look around where you are
  inventory:                        check what you carry
  go to (receptacle):               walk to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):    put an object in or on a receptacle
  examine (something):              examine a receptacle or the object you carry
  use (object):                     turn on an object
  heat (object) with (receptacle):  heat an object with a receptacle
  clean (object) with (receptacle): clean an object with a receptacle
  cool (object) with (receptacle):  cool an object with a receptacle
  slice (object) with (object):     slice an object with a sharp one
"""


def read_spec(task_id: str) -> GameSpec | HorizonSpec:
    """The specification of a task id of either family. Raises `DataError` when it is not one."""
    return (HorizonSpec if task_id.startswith(f"{HORIZON_PREFIX}/") else GameSpec).from_id(task_id)


def generate_game(spec: GameSpec | HorizonSpec) -> Game:
    """The parsed game of `spec`. Raises `DataError` for a specification outside the generator's range."""
    return parse_game(generate_json(spec), spec.task_id)


def generate_json(spec: GameSpec | HorizonSpec) -> str:
    """The game file of `spec`: canonical JSON (sorted keys, no blanks, ASCII)."""
    sentence, problem = _texts(spec)
    document: dict[str, object] = {
        "grammar": _grammar(sentence),
        "pddl_domain": "",
        "pddl_problem": problem,
        "solvable": True,
        "walkthrough": [],
    }
    game = parse_game(_canonical(document), spec.task_id)
    walkthrough = solve(game)
    document["walkthrough"] = walkthrough
    if isinstance(game.goal, ChainGoal):
        document["grammar"] = _grammar(chain_sentence(game))  # it calls things by names, which only now are known
        document["shortest_plan"] = len(walkthrough)
    return _canonical(document)


def content_key(spec: GameSpec | HorizonSpec) -> str:
    """sha256 of the room and its goal, without the wording of the task: equal for games that are the same to play."""
    return hashlib.sha256(_texts(spec)[1].encode()).hexdigest()


def _texts(spec: GameSpec | HorizonSpec) -> tuple[str, str]:
    """Task sentence (empty for a chain) and problem."""
    if isinstance(spec, HorizonSpec):
        layout, goal = draw_chain(spec)
        return "", problem_text(layout, goal)
    task, layout = draw_game(spec)
    sentence = _SENTENCES[task.task_type][task.wording]
    return sentence.format(o=task.item_type.lower(), r=task.target_type.lower()), problem_text(layout, _goal(task))


def _grammar(sentence: str) -> str:
    return synthetic_grammar(f"Your task is to: {sentence}", _HELP.removeprefix("\n"))


def _canonical(document: dict[str, object]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _goal(task: Task) -> str:
    item, target = f"{task.item_type}Type", f"{task.target_type}Type"
    if task.task_type is TaskType.LIGHT:
        lamp = f"(objectType ?ot {target}) (toggleable ?ot) (isToggled ?ot)"
        where = "(receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)"
        return (
            f"(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and {lamp} {where}))"
            f" (exists (?o - object ?a - agent) (and (objectType ?o {item}) (holds ?a ?o))))"
        )
    typed = "(objectType ?{o} " + item + ") (receptacleType ?r " + target + ") (inReceptacle ?{o} ?r)"
    if task.task_type is TaskType.TWO:
        second = f"(exists (?o2 - object) (and (not (= ?o1 ?o2)) {typed.format(o='o2')}))"
        return f"(and (exists (?r - receptacle) (exists (?o1 - object) (and {typed.format(o='o1')} {second}))))"
    treated = _TREATED.get(task.task_type, "")
    return f"(and (exists (?r - receptacle) (exists (?o - object) (and {treated}{typed.format(o='o')}))))"
