"""The lines of `hiper env play`, without the command line."""

import json

import pytest

from hiper.envs.alfworld.synthetic import SyntheticAlfworld
from hiper.envs.base import EpisodeOver
from hiper.envs.play import PlayRequest, play
from hiper.envs.registry import open_source
from hiper.errors import ConfigError, DataError

TASK = "synth-alfworld/demo/pick_heat_then_place_in_recep/3"
FIELDS = ["step", "action", "observation", "admissible", "reward", "terminated", "truncated", "won", "score"]
PLAN = list(SyntheticAlfworld().game(TASK).walkthrough)


def test_one_line_for_the_reset_and_one_per_action() -> None:
    lines = list(play(PlayRequest("alfworld", None, TASK), [*PLAN[:2], "dance", *PLAN[2:]]))
    assert [list(line) for line in lines] == [FIELDS] * len(lines)
    assert [line["step"] for line in lines] == list(range(len(PLAN) + 2))
    assert [line["action"] for line in lines] == [None, *PLAN[:2], "dance", *PLAN[2:]]
    assert lines[3]["observation"] == "Nothing happens."
    assert [line["won"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert (lines[-1]["reward"], lines[-1]["score"], lines[-1]["terminated"]) == (1.0, 1.0, True)
    assert json.loads(json.dumps(lines)) == lines


def test_the_step_limit_is_the_requested_one() -> None:
    limited = list(play(PlayRequest("alfworld", None, TASK, max_steps=2), ["look", "look"]))
    assert [line["truncated"] for line in limited] == [False, False, True]
    unlimited = list(play(PlayRequest("alfworld", None, TASK, max_steps=0), ["look"] * 80))
    assert not any(line["truncated"] for line in unlimited)


def test_an_action_after_the_end_is_refused_after_everything_before_it_was_shown() -> None:
    lines = play(PlayRequest("alfworld", None, TASK, max_steps=1), ["look", "help"])
    assert [next(lines)["step"], next(lines)["step"]] == [0, 1]
    with pytest.raises(EpisodeOver):
        next(lines)


def test_actions_are_taken_one_at_a_time() -> None:
    shown: list[object] = []

    def person() -> object:
        assert shown[-1] is None  # the reset has been shown before anything was typed
        yield "look"
        assert shown[-1] == "look"
        yield "help"

    for line in play(PlayRequest("alfworld", None, TASK), person()):
        shown.append(line["action"])
    assert shown == [None, "look", "help"]


def test_unknown_environments_and_tasks_are_refused() -> None:
    with pytest.raises(ConfigError, match="chess"):
        open_source("chess")
    with pytest.raises(DataError, match="nonsense"):
        next(play(PlayRequest("alfworld", None, "nonsense"), []))
