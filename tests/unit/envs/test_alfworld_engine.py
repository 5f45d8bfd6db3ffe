"""What a player of the engine sees: texts, offers, goals and ends, in a hand-made kitchen."""

import pytest
from kitchens import kitchen, say

from hiper.envs.alfworld.engine import AlfworldEpisode
from hiper.envs.base import Episode, EpisodeOver


def play(goal: str = "place", max_steps: int = 50) -> AlfworldEpisode:
    return AlfworldEpisode(kitchen(goal), max_steps)


def test_the_first_observation_names_receptacles_in_descending_numbers_and_the_task() -> None:
    first = play().reset()
    assert first.observation == (
        "-= Welcome to TextWorld, ALFRED! =-\n\n"
        "You are in the middle of a room. Looking quickly around you, you see a countertop 2, a countertop 1, "
        "a fridge 1, a microwave 1, a sidetable 1, and a sinkbasin 1.\n\n"
        'Your task is to: put the "red" apple in fridge.'
    )
    assert first.admissible == (
        "go to countertop 1",
        "go to countertop 2",
        "go to fridge 1",
        "go to microwave 1",
        "go to sidetable 1",
        "go to sinkbasin 1",
        "help",
        "inventory",
        "look",
    )
    assert (first.reward, first.score, first.done, first.action_valid) == (0.0, 0.0, False, True)
    assert isinstance(play(), Episode)


def test_opening_closing_and_the_texts_of_receptacles() -> None:
    episode = play()
    assert say(episode, "go to fridge 1", "examine fridge 1", "open fridge 1", "close fridge 1", "look") == [
        "You arrive at fridge 1. The fridge 1 is closed.",
        "The fridge 1 is closed.",
        "You open the fridge 1. The fridge 1 is open. In it, you see nothing.",
        "You close the fridge 1.",
        "You are facing the fridge 1. Next to it, you see nothing.",
    ]


def test_two_receptacles_at_one_place_are_both_in_reach_and_neither_can_be_gone_to() -> None:
    episode = play()
    episode.step("go to countertop 2")
    offered = episode.step("look")
    assert offered.observation == "You are facing the countertop 2, and countertop 1. Next to it, you see nothing."
    assert "take knife 1 from countertop 1" in offered.admissible
    assert not [command for command in offered.admissible if command.startswith("go to countertop")]
    assert episode.step("go to countertop 1").action_valid is False


def test_a_thing_moved_between_receptacles_of_one_place_shows_as_next_to_them() -> None:
    episode = play()
    say(episode, "go to countertop 1", "take knife 1 from countertop 1", "move knife 1 to countertop 2")
    assert say(episode, "look")[0].endswith("Next to it, you see a knife 1.")
    say(episode, "take knife 1 from countertop 2", "move knife 1 to countertop 1")
    # The mark of countertop 2 is still there: the knife was taken from it and not put back.
    assert say(episode, "look")[0].endswith("Next to it, you see a knife 1.")


def test_a_thing_in_two_receptacles_stays_in_the_other_when_it_is_taken() -> None:
    episode = play()
    assert say(episode, "go to countertop 2", "take mug 1 from countertop 2", "go to sidetable 1") == [
        "You arrive at countertop 2. On the countertop 2, you see a apple 2, and a mug 1.",
        "You pick up the mug 1 from the countertop 2.",
        "You arrive at sidetable 1. On the sidetable 1, you see a apple 1, a desklamp 1, and a mug 1.",
    ]
    assert say(episode, "inventory", "examine mug 1") == [
        "You are carrying: a mug 1.",
        "This is a normal mug 1. In it, you see a spoon 1.",
    ]


@pytest.mark.parametrize(
    ("treatments", "text"),
    [
        ((), "There's nothing special about apple 1."),
        (("clean",), "This is a clean apple 1."),
        (("heat",), "This is a hot apple 1."),
        (("cool",), "This is a cold apple 1."),
        (("clean", "heat"), "This is a hot and clean apple 1."),
        (("clean", "cool"), "This is a cool and clean apple 1."),
        (("heat", "cool"), "This is a cold apple 1."),
        (("cool", "heat"), "This is a hot apple 1."),
        (("slice",), "This is a sliced apple 1."),
        (("slice", "clean"), "This is a clean sliced apple 1."),
        (("slice", "heat"), "This is a hot sliced apple 1."),
        (("slice", "cool"), "This is a cool sliced apple 1."),
        (("slice", "clean", "heat"), "This is a hot and clean sliced apple 1."),
        (("slice", "clean", "cool"), "This is a cool and clean sliced apple 1."),
    ],
)
def test_examining_a_held_thing_tells_its_state(treatments: tuple[str, ...], text: str) -> None:
    episode = play("place", 0)
    stations = {"clean": "sinkbasin 1", "heat": "microwave 1", "cool": "fridge 1"}
    done = {"clean": "You clean the apple 1", "heat": "You heat the apple 1", "cool": "You cool the apple 1"}
    if "slice" in treatments:
        say(episode, "go to countertop 1", "take knife 1 from countertop 1", "go to sidetable 1")
        assert say(episode, "slice apple 1 with knife 1") == ["You sliced the apple 1 with the knife 1."]
        say(episode, "go to countertop 1", "move knife 1 to countertop 1")
    say(episode, "go to sidetable 1", "take apple 1 from sidetable 1")
    for verb in treatments:
        if verb != "slice":
            station = stations[verb]
            _, answer = say(episode, f"go to {station}", f"{verb} apple 1 with {station}")
            assert answer == f"{done[verb]} using the {station}."
    assert say(episode, "examine apple 1") == [text]


@pytest.mark.parametrize("action", ["", "   ", "dance", "Look", "go  to fridge 1", "open fridge 1", "take apple 1"])
def test_an_action_not_on_offer_changes_nothing_and_counts(action: str) -> None:
    episode = play()
    before = episode.step("go to sidetable 1")
    result = episode.step(action)
    assert (result.observation, result.action_valid, episode.steps) == ("Nothing happens.", False, 2)
    assert result.admissible == before.admissible


def test_blanks_around_an_action_do_not_matter() -> None:
    assert play().step("  go to fridge 1 ").observation == "You arrive at fridge 1. The fridge 1 is closed."


@pytest.mark.parametrize(
    ("goal", "commands"),
    [
        ("place", "take apple 1 from sidetable 1|go to fridge 1|open fridge 1|move apple 1 to fridge 1"),
        (
            "clean",
            "take apple 1 from sidetable 1|go to sinkbasin 1|clean apple 1 with sinkbasin 1|go to sidetable 1|"
            "move apple 1 to sidetable 1",
        ),
        (
            "heat",
            "take apple 1 from sidetable 1|go to microwave 1|heat apple 1 with microwave 1|go to sidetable 1|"
            "move apple 1 to sidetable 1",
        ),
        (
            "cool",
            "take apple 1 from sidetable 1|go to fridge 1|cool apple 1 with fridge 1|go to sidetable 1|"
            "move apple 1 to sidetable 1",
        ),
        ("two", "take apple 1 from sidetable 1|go to countertop 2|move apple 1 to countertop 2"),
        ("light", "take apple 1 from sidetable 1|use desklamp 1"),
        ("light", "use desklamp 1|take apple 1 from sidetable 1"),
    ],
)
def test_each_goal_is_won_at_the_last_command_and_not_before(goal: str, commands: str) -> None:
    episode = play(goal)
    results = [episode.step(command) for command in ("go to sidetable 1", *commands.split("|"))]
    assert [result.won for result in results] == [False] * (len(results) - 1) + [True]
    last = results[-1]
    assert (last.terminated, last.truncated, last.score, last.reward) == (True, False, 1.0, 1.0)
    with pytest.raises(EpisodeOver, match="ended after step"):
        episode.step("look")


def test_the_wrong_countertop_does_not_win_a_two_object_goal() -> None:
    episode = play("two")
    say(episode, "go to sidetable 1", "take apple 1 from sidetable 1", "go to countertop 2")
    assert episode.step("move apple 1 to countertop 1").won is False


def test_light_is_not_won_away_from_the_lamp() -> None:
    episode = play("light")
    say(episode, "go to sidetable 1", "use desklamp 1", "go to countertop 1")
    assert episode.step("take apple 2 from countertop 2").won is False
    assert episode.step("go to sidetable 1").won is True


def test_the_step_limit_truncates_and_a_win_at_the_limit_terminates() -> None:
    episode = play("place", 2)
    assert episode.step("look").truncated is False
    last = episode.step("nonsense")
    assert (last.truncated, last.terminated, last.won) == (True, False, False)
    with pytest.raises(EpisodeOver):
        episode.step("look")
    winning = play("light", 3)
    say(winning, "go to sidetable 1", "use desklamp 1")
    last = winning.step("take apple 1 from sidetable 1")
    assert (last.truncated, last.terminated) == (False, True)


def test_without_a_limit_an_episode_goes_on() -> None:
    episode = play("place", 0)
    assert not any(episode.step("look").done for _ in range(200))


def test_reset_forgets_everything() -> None:
    episode = play("light")
    first = episode.reset()
    say(episode, "go to sidetable 1", "use desklamp 1", "take apple 1 from sidetable 1")
    assert episode.reset() == first
    assert episode.steps == 0
    assert say(episode, "inventory", "go to sidetable 1")[1].endswith("you see a apple 1, a desklamp 1, and a mug 1.")


def test_sessions_of_one_game_do_not_touch_each_other() -> None:
    game = kitchen()
    one, other = AlfworldEpisode(game), AlfworldEpisode(game)
    say(one, "go to fridge 1", "open fridge 1", "go to sidetable 1", "take apple 1 from sidetable 1")
    assert say(other, "go to fridge 1", "go to sidetable 1") == [
        "You arrive at fridge 1. The fridge 1 is closed.",
        "You arrive at sidetable 1. On the sidetable 1, you see a apple 1, a desklamp 1, and a mug 1.",
    ]
