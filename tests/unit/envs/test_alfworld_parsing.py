"""Reading game files: what is understood, and what is refused with one line that names the file."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kitchens import GOALS, document, facts, kitchen, problem

from hiper.envs.alfworld.engine import AlfworldEpisode
from hiper.envs.alfworld.game import UnplayableGameError, parse_game
from hiper.envs.alfworld.model import TaskType
from hiper.envs.alfworld.versions import synthetic_grammar
from hiper.errors import DataError


def parse(**fields: object) -> None:
    parse_game(json.dumps(document(**fields)), "some/game.tw-pddl")


@pytest.mark.parametrize(
    ("goal", "task_type"),
    [
        ("place", TaskType.PLACE),
        ("clean", TaskType.CLEAN),
        ("heat", TaskType.HEAT),
        ("cool", TaskType.COOL),
        ("two", TaskType.TWO),
        ("light", TaskType.LIGHT),
    ],
)
def test_the_goal_tells_the_task_type(goal: str, task_type: TaskType) -> None:
    assert kitchen(goal).task_type == task_type


def test_task_and_help_text_come_from_the_grammar_with_its_escapes() -> None:
    game = kitchen()
    assert game.task == 'Your task is to: put the "red" apple in fridge.'
    assert game.help == "Some help.\n"
    assert game.version == "synthetic"


def test_bytes_and_text_are_the_same_game_and_rewritten_json_has_the_same_content_hash() -> None:
    text = json.dumps(document())
    rewritten = json.dumps(document(), indent=2)
    one, same, other = (parse_game(form, "g") for form in (text, text.encode(), rewritten))
    assert one == same
    assert one.sha256 != other.sha256
    assert one.content_sha256 == other.content_sha256


def test_a_single_changed_fact_changes_the_content_hash() -> None:
    assert kitchen().content_sha256 != kitchen(extra=["(isCool Apple_bar_1)"]).content_sha256


GOAL_OF_UNKNOWN_SHAPE = "(forall (?o - object) (isClean ?o))"
GOAL_WITH_ONE_ATOM_TOO_MANY = GOALS["place"].replace("(inReceptacle ?o ?r)", "(inReceptacle ?o ?r) (isSliced ?o)")
GOAL_OVER_ONE_OBJECT_TWICE = GOALS["two"].replace("(not (= ?o1 ?o2))", "")


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"goal": GOAL_OF_UNKNOWN_SHAPE}, "six known shapes"),
        ({"goal": GOAL_WITH_ONE_ATOM_TOO_MANY}, "six known shapes"),
        ({"goal": GOAL_OVER_ONE_OBJECT_TWICE}, "six known shapes"),
        ({"extra": ["(inReceptacle Apple_bar_1 Fridge_bar_1)"]}, "true before the first command"),
        ({"extra": ["(levitates Apple_bar_1)"]}, "levitates"),
        ({"extra": ["(isClean Apple_bar_1 Apple_bar_2)"]}, "isclean"),
        ({"extra": ["(inReceptacle Ghost_bar_1 Fridge_bar_1)"]}, "ghost_bar_1"),
        ({"extra": ["(receptacleAtLocation Fridge_bar_1 loc_bar_2)"]}, "two receptacleatlocation facts"),
        ({"pddl_problem": problem(GOALS["place"])[:-3]}, "never closed"),
        ({"pddl_problem": problem(GOALS["place"]) + ")"}, "never opened"),
        ({"pddl_problem": "(define (problem p))"}, ":objects"),
        ({"pddl_problem": "(define ((nested)))"}, ":objects"),
        ({"pddl_problem": "(" * 2000 + ")" * 2000}, "not a PDDL definition"),
        ({"goal": "(and " * 3000 + ")" * 3000}, "nests too deeply"),
        ({"extra": ["stray"]}, "'stray' where a fact belongs"),
        ({"extra": ["(isCool (Apple_bar_1))"]}, "nests where a flat list belongs"),
        ({"walkthrough": ["look", 3]}, "walkthrough"),
        ({"shortest_plan": "four"}, "shortest_plan"),
        ({"extra": ["(isCool \ud800_bar_1)"]}, "surrogates not allowed"),
        ({"grammar": synthetic_grammar("Do \ud800.", "Some help.\n")}, "surrogates not allowed"),
        ({"pddl_problem": 7}, "pddl_problem"),
        ({"walkthrough": "go"}, "walkthrough"),
        ({"grammar": "nothing here"}, "no task sentence"),
        ({"grammar": '{"task": [{"rhs": "Do."}]}'}, "no help text"),
        ({"pddl_domain": "(define (domain alfred))"}, "version"),
        (
            {"pddl_domain": "(define)", "grammar": '"task": [{"rhs": "Do."}] You put the {o.name} in/on the {r.name}.'},
            "2.1.1",
        ),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_in_one_line_naming_the_file(
    fields: dict[str, object], complaint: str
) -> None:
    with pytest.raises(DataError, match=r"some/game\.tw-pddl") as refused:
        parse(**fields)
    assert complaint in refused.value.message
    assert "\n" not in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not a game file: Expecting value"),
        (b"{", "not a game file: Expecting property name"),
        (json.dumps(document()).encode()[:-40], "not a game file: "),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"[" * 100_000, "nests too deeply"),
        (b"\xff\xfe", "not a game file: 'utf-8' codec can't decode byte 0xff in position 0"),
        (json.dumps(document()).encode().replace(b"apple", b"appl\xe9", 1), "'utf-8' codec can't decode byte 0xe9"),
    ],
)
def test_bytes_that_are_no_game_are_refused_by_name(data: bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=r"some/game\.tw-pddl") as refused:
        parse_game(data, "some/game.tw-pddl")
    assert complaint in refused.value.message
    assert "\n" not in str(refused.value)


@given(st.data())
def test_damaged_files_are_games_or_refused_and_never_anything_else(data: st.DataObject) -> None:
    damaged = bytearray(json.dumps(document(data.draw(st.sampled_from(sorted(GOALS))))).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(damaged)))
        end = data.draw(st.integers(start, min(len(damaged), start + 40)))
        damaged[start:end] = data.draw(st.binary(max_size=8) | st.sampled_from([b"(", b")", b" ", b"- ", b"_bar_"]))
    try:
        game = parse_game(bytes(damaged), "damaged")
    except DataError as error:
        named = error.message.startswith("damaged: ")
    else:
        named = bool(AlfworldEpisode(game).reset().admissible)
    assert named


@pytest.mark.parametrize("solvable", [False, None, "yes"])
def test_an_unsolvable_game_says_so(solvable: object) -> None:
    with pytest.raises(UnplayableGameError, match="unsolvable"):
        parse(solvable=solvable)


def test_states_set_at_the_start_are_honoured() -> None:
    game = kitchen(extra=["(isCool Apple_bar_1)", "(opened Fridge_bar_1)"])
    states = {state: {game.items[i].name for i in items} for state, items in game.start.marks}
    assert states["iscool"] == {"apple 2"}  # the first id has the highest number
    assert {game.receptacles[i].name for i in game.start.opened} == {"fridge 1"}
    assert facts()  # the kitchen itself opens nothing
    assert not kitchen().start.opened
