"""Demonstrations are what the rollout would have shown and recorded, and they teach recoveries, not stumbles."""

import random
import re
from collections.abc import Sequence

from hiper.config.sections import CompactPrompt
from hiper.envs.alfworld.layout import GameSpec
from hiper.envs.alfworld.model import TaskType
from hiper.envs.alfworld.player import PlayerConfig
from hiper.envs.alfworld.synthetic import SplitSpec, SyntheticAlfworld
from hiper.plan_execute import CompactPromptBuilder, parse_response
from hiper.vocabulary import Switch
from services.learner.demonstrations import DemonstratedTurn, DemonstrationSettings, demonstrate_tasks

PROMPT = CompactPrompt()
_PARTS = re.compile(r"\|acts (?P<actions>.*) \|goal (?P<goal>.*) \|turn")


def _episodes(
    *, stumble: float, forget: float = 0.0, tasks: Sequence[str] = (), seed: int = 0, count: int = 30
) -> list[list[DemonstratedTurn]]:
    source = SyntheticAlfworld(SplitSpec(train=count, valid=1))
    settings = DemonstrationSettings(
        PlayerConfig(noise=0.0, forget=forget), stumble, 15, frozenset(PROMPT.hidden_actions)
    )
    chosen = tasks or source.ids("train")
    return list(demonstrate_tasks(source, chosen, CompactPromptBuilder(PROMPT), settings, random.Random(seed)))


def test_every_demonstrated_action_is_in_its_prompt() -> None:
    for turn in (turn for episode in _episodes(stumble=0.3) for turn in episode):
        parts = _PARTS.search(turn.prompt)
        assert parts is not None
        assert f" {parse_response([turn.response]).action} " in f" {parts['actions']} "


def test_keep_exactly_when_the_subgoal_in_force_is_repeated() -> None:
    decisions = set()
    for turn in (turn for episode in _episodes(stumble=0.3) for turn in episode):
        parts, response = _PARTS.search(turn.prompt), parse_response([turn.response])
        assert parts is not None
        assert response.valid
        assert (response.switch is Switch.KEEP) == (response.subgoal == parts["goal"])
        decisions.add(response.switch)
    assert decisions == {Switch.KEEP, Switch.SWITCH}


def test_recoveries_are_taught_and_stumbles_are_not() -> None:
    turns = [turn for episode in _episodes(stumble=0.3, count=60) for turn in episode]
    after_failures = [turn for turn in turns if "|obs Nothing happens." in turn.prompt]
    assert after_failures
    assert not any("|obs Nothing happens." in turn.prompt for e in _episodes(stumble=0.0) for turn in e)


def test_a_forgetful_player_never_treats() -> None:
    heat = [GameSpec("demo", TaskType.HEAT, seed).task_id for seed in range(20)]
    for forget, expected in ((1.0, False), (0.0, True)):
        turns = [turn for episode in _episodes(stumble=0.0, forget=forget, tasks=heat) for turn in episode]
        assert any("<action>heat " in turn.response for turn in turns) is expected


def test_one_seed_gives_one_set() -> None:
    assert _episodes(stumble=0.2, seed=5) == _episodes(stumble=0.2, seed=5)
    assert _episodes(stumble=0.2, seed=5) != _episodes(stumble=0.2, seed=6)
