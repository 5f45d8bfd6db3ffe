"""The scripted player: its form, its skill, and the weakness it is meant to show."""

import os
import random
from itertools import pairwise
from pathlib import Path

import pytest

from hiper.envs.alfworld.layout import DEMO_TYPES
from hiper.envs.alfworld.model import TaskType
from hiper.envs.alfworld.player import Demonstration, PlayerConfig, SearchPlayer, demonstrate
from hiper.envs.alfworld.source import AlfworldFiles
from hiper.envs.alfworld.synthetic import SplitSpec, SyntheticAlfworld
from hiper.envs.base import TaskSource
from hiper.errors import DataError
from hiper.vocabulary import Switch

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("HIPER_DATA", ROOT / "../shared/data")) / "alfworld"
DEMO = SyntheticAlfworld(SplitSpec(train=200, valid=0))


def play(source: TaskSource, ids: list[str], config: PlayerConfig, max_steps: int) -> list[Demonstration]:
    return [
        demonstrate(source.open(task_id, max_steps=max_steps), SearchPlayer(random.Random(i), config))
        for i, task_id in enumerate(ids)
    ]


def share_won(played: list[Demonstration]) -> float:
    return sum(demo.won for demo in played) / len(played)


def test_without_forgetting_it_wins_nine_in_ten_demo_games_in_thirty_steps() -> None:
    assert share_won(play(DEMO, DEMO.ids("train"), PlayerConfig(forget=0.0), 30)) >= 0.9


def test_forgetting_costs_the_tasks_that_need_treatment_and_only_those() -> None:
    forgetful = PlayerConfig(noise=0.0, forget=1.0)
    by_type = {
        kind: share_won(play(DEMO, [task for task in DEMO.ids("train") if kind.value in task], forgetful, 30))
        for kind in DEMO_TYPES
    }
    assert by_type.pop(TaskType.PLACE) >= 0.9
    assert set(by_type.values()) == {0.0}


def test_the_share_of_forgetful_episodes_is_the_configured_one() -> None:
    ids = [task for task in DEMO.ids("train") if "heat" in task or "clean" in task] * 4
    treated = [
        any(turn.decision.subgoal.startswith(("heat", "clean")) for turn in demo.turns)
        for demo in play(DEMO, ids, PlayerConfig(noise=0.0, forget=0.6), 50)
    ]
    assert 0.3 < sum(treated) / len(treated) < 0.5


def test_turns_switch_exactly_when_the_subgoal_changes() -> None:
    for demo in play(DEMO, DEMO.ids("train")[:60], PlayerConfig(), 30):
        decisions = [turn.decision for turn in demo.turns]
        assert decisions[0].switch is Switch.SWITCH
        for before, after in pairwise(decisions):
            assert (after.switch is Switch.KEEP) == (after.subgoal == before.subgoal)


def test_it_only_sends_actions_it_was_shown() -> None:
    def reduced(admissible: tuple[str, ...]) -> tuple[str, ...]:
        hidden = ("examine", "close", "look", "inventory", "help")
        return tuple(command for command in admissible if not command.startswith(hidden))

    for i, task_id in enumerate(DEMO.ids("train")[:60]):
        player = SearchPlayer(random.Random(i), PlayerConfig(noise=0.5))
        for turn in demonstrate(DEMO.open(task_id, max_steps=30), player, reduced).turns:
            assert turn.decision.action in turn.admissible
            assert turn.admissible == reduced(turn.admissible)


def test_the_same_generator_state_plays_the_same_game() -> None:
    ids = DEMO.ids("train")[:10]
    assert play(DEMO, ids, PlayerConfig(), 30) == play(DEMO, ids, PlayerConfig(), 30)


@pytest.mark.parametrize("kind", list(TaskType))
def test_it_understands_all_six_task_types_in_both_wordings(kind: TaskType) -> None:
    source = SyntheticAlfworld(SplitSpec(size=8, types=(kind,), train=60, valid=0))
    assert share_won(play(source, source.ids("train"), PlayerConfig(forget=0.0), 60)) >= 0.9


def test_a_task_it_does_not_understand_is_refused() -> None:
    with pytest.raises(DataError, match="sing a song"):
        SearchPlayer(random.Random(0)).begin("Hello.\n\nYour task is to: sing a song.")


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="no ALFWorld game files: set HIPER_DATA or have ../shared/data")
def test_it_plays_real_games_of_all_types() -> None:
    source = AlfworldFiles(DATA)
    for kind in TaskType:
        ids = [task for task in source.ids("valid_seen") if f"/{kind.value}-" in task]
        played = play(source, ids, PlayerConfig(forget=0.0), 50)
        assert share_won(played) >= 0.6, kind
