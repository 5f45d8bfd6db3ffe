"""Horizon games: chains of sub-tasks that count only in their order, with a shortest plan that is the shortest."""

import json
import random
from collections.abc import Iterator

import pytest
from kitchens import APPLE_IN, GOALS, document, kitchen

from hiper.config.sections import EnvSettings
from hiper.envs.alfworld.engine import AlfworldEpisode
from hiper.envs.alfworld.game import parse_game
from hiper.envs.alfworld.generator import content_key, generate_game, generate_json, read_spec
from hiper.envs.alfworld.horizon import HorizonSpec
from hiper.envs.alfworld.model import ChainGoal, Game, SubGoal, TaskType
from hiper.envs.alfworld.player import PlayerConfig, SearchPlayer, demonstrate
from hiper.envs.alfworld.synthetic import SplitSpec, SyntheticAlfworld
from hiper.envs.base import StepResult
from hiper.envs.configured import open_configured_source
from hiper.envs.play import PlayRequest, play
from hiper.errors import DataError

LENGTHS = (1, 2, 3, 4, 5, 8, 12, 20)
SPECS = [HorizonSpec(k, seed) for k in LENGTHS for seed in range(25)]
VERBS = {
    TaskType.CLEAN: ("clean", "sinkbasin 1"),
    TaskType.HEAT: ("heat", "microwave 1"),
    TaskType.COOL: ("cool", "fridge 1"),
}


def chain_of(game: Game) -> tuple[SubGoal, ...]:
    assert isinstance(game.goal, ChainGoal)
    return game.goal.subgoals


def act(episode: AlfworldEpisode, *commands: str) -> list[StepResult]:
    return [episode.step(command) for command in commands]


def deliver(episode: AlfworldEpisode, subgoal: SubGoal, source: int) -> bool:
    """Carry out one sub-task from wherever the agent is, and say whether the game was won by it."""
    game = episode.game
    item, target = game.items[subgoal.item].name, game.receptacles[subgoal.receptacle].name
    where = game.receptacles[source].name
    act(episode, f"go to {where}", f"open {where}")
    assert act(episode, f"take {item} from {where}")[0].action_valid
    if subgoal.treatment in VERBS:
        verb, station = VERBS[subgoal.treatment]
        act(episode, f"go to {station}")
        assert act(episode, f"{verb} {item} with {station}")[0].action_valid
    act(episode, f"go to {target}", f"open {target}")
    last = episode.step(f"move {item} to {target}")
    assert last.action_valid
    return last.won


def source_of(game: Game, subgoal: SubGoal) -> int:
    return next(r for r, found in enumerate(game.start.contents) if subgoal.item in found)


def test_every_walkthrough_wins_at_its_last_command_only_and_is_the_plan_that_is_reported() -> None:
    for spec in SPECS:
        game = generate_game(spec)
        assert (game.task_type, len(chain_of(game))) == ("horizon", spec.length)
        assert game.shortest_plan == len(game.walkthrough)
        results = act(AlfworldEpisode(game, spec.max_steps), *game.walkthrough)
        assert all(result.action_valid and result.admissible for result in results), spec.task_id
        assert [result.won for result in results] == [False] * (len(results) - 1) + [True], spec.task_id
        assert [result.reward for result in results] == [0.0] * (len(results) - 1) + [1.0], spec.task_id


def test_plans_take_about_five_commands_a_subtask_and_limits_fifty() -> None:
    for k in LENGTHS:
        plans = [generate_game(HorizonSpec(k, seed)).shortest_plan or 0 for seed in range(40)]
        assert 4.5 * k <= sum(plans) / len(plans) <= 6 * k
        assert HorizonSpec(k, 0).max_steps == 50 * k


@pytest.mark.parametrize("k", [2, 3, 5, 20])
def test_the_right_things_in_the_wrong_order_do_not_win(k: int) -> None:
    for seed in range(10):
        game = generate_game(HorizonSpec(k, seed))
        chain = chain_of(game)
        shuffled = list(chain)
        while shuffled == list(chain):
            random.Random(seed).shuffle(shuffled)
            seed += 1
        episode = AlfworldEpisode(game, 0)
        assert not any(deliver(episode, subgoal, source_of(game, subgoal)) for subgoal in shuffled)
        # Everything is in its place. What came too early is taken out and put back, in order, and then it counts.
        again = [deliver(episode, subgoal, subgoal.receptacle) for subgoal in chain[1:]]
        assert again == [False] * (k - 2) + [True]


def test_what_was_reached_and_undone_has_to_be_restored_but_not_reached_again() -> None:
    game = generate_game(HorizonSpec(3, 4))
    first, second, third = chain_of(game)
    episode = AlfworldEpisode(game, 0)
    deliver(episode, first, source_of(game, first))
    deliver(episode, second, source_of(game, second))
    item, place = game.items[first.item].name, game.receptacles[first.receptacle].name
    other = next(r for r in game.receptacles if game.items[first.item].type in r.accepts and r.name != place)
    act(episode, f"go to {place}", f"take {item} from {place}", f"go to {other.name}", f"open {other.name}")
    assert episode.step(f"move {item} to {other.name}").action_valid
    assert deliver(episode, third, source_of(game, third)) is False
    assert deliver(episode, first, other.index) is True


def test_the_same_specification_gives_the_same_bytes_and_other_ones_other_rooms() -> None:
    for spec in SPECS[::5]:
        assert generate_json(spec) == generate_json(HorizonSpec(spec.length, spec.seed))
        assert read_spec(spec.task_id) == spec
    assert len({content_key(spec) for spec in SPECS}) == len(SPECS)


def test_names_are_unique_and_numbers_do_not_give_the_wanted_things_away() -> None:
    first = 0
    for spec in SPECS:
        game = generate_game(spec)
        names = [thing.name for thing in (*game.items, *game.receptacles)]
        assert len(set(names)) == len(names)
        wanted = game.items[chain_of(game)[0].item].name
        first += wanted.endswith(" 1")
    assert 0.2 < first / len(SPECS) < 0.9


def test_the_sentence_names_things_and_places_in_order() -> None:
    game = generate_game(HorizonSpec(4, 1))
    sentence = game.task.removeprefix("Your task is to: ").removesuffix(".")
    for clause, subgoal in zip(sentence.split(", then "), chain_of(game), strict=True):
        assert game.items[subgoal.item].name in clause
        assert clause.endswith(f"in {game.receptacles[subgoal.receptacle].name}")
        assert clause.split()[0] == VERBS.get(subgoal.treatment, ("put", ""))[0]


# -- the shortest plan, by exhaustive search in a model of its own -----------------------------------------------------

State = tuple[int, int, tuple[int, ...], frozenset[int], frozenset[int], int]
"""Place, thing held (-1: none), where each wanted thing is (-1: in hand), treated, opened, sub-goals reached."""


def moves(game: Game, state: State) -> Iterator[State]:
    place, held, where, treated, opened, reached = state
    chain = chain_of(game)
    stations = {station for _, station in VERBS.values()}
    useful = {source_of(game, s) for s in chain} | {s.receptacle for s in chain}
    useful |= {r.index for r in game.receptacles if r.name in stations}
    for other in {game.receptacles[r].place for r in useful} - {place}:
        yield (other, held, where, treated, opened, reached)
    for r in (r for r in game.places[place].receptacles if r.index in useful):
        if r.openable and r.index not in opened:
            yield (place, held, where, treated, opened | {r.index}, reached)
        accessible = not r.openable or r.index in opened
        if held < 0:
            for i, at in enumerate(where):
                if at == r.index and accessible:
                    yield (place, i, (*where[:i], -1, *where[i + 1 :]), treated, opened, reached)
            continue
        subgoal = chain[held]
        if subgoal.treatment in VERBS and r.name == VERBS[subgoal.treatment][1]:
            yield (place, held, where, treated | {held}, opened, reached)
        if accessible and game.items[subgoal.item].type in r.accepts:
            done = held in treated or subgoal.treatment is TaskType.PLACE
            step = reached == held and r.index == subgoal.receptacle and done
            yield (place, -1, (*where[:held], r.index, *where[held + 1 :]), treated, opened, reached + step)


def shortest(game: Game) -> int:
    chain = chain_of(game)
    start: State = (
        game.start.place,
        -1,
        tuple(source_of(game, s) for s in chain),
        frozenset(),
        frozenset(),
        0,
    )
    seen, frontier, length = {start}, [start], 0
    while frontier:
        if any(s[5] == len(chain) and s[2] == tuple(g.receptacle for g in chain) for s in frontier):
            return length
        frontier = [new for new in dict.fromkeys(n for s in frontier for n in moves(game, s)) if new not in seen]
        seen.update(frontier)
        length += 1
    raise AssertionError("it cannot be won")


@pytest.mark.parametrize(("k", "games"), [(1, 100), (2, 100), (3, 10)])
def test_no_plan_is_shorter_than_the_reported_one(k: int, games: int) -> None:
    for seed in range(games):
        game = generate_game(HorizonSpec(k, seed))
        assert shortest(game) == game.shortest_plan, seed


# -- as a task source ----------------------------------------------------------------------------------------------


def test_any_source_of_generated_games_opens_them_with_a_limit_that_scales() -> None:
    source = SyntheticAlfworld()
    task = HorizonSpec(4, 7).task_id
    info = source.describe(source.resolve(task))
    assert (info.task_type, info.split, info.shortest_plan) == ("horizon", "train", source.game(task).shortest_plan)
    episode = source.open(task)
    assert [result.truncated for result in act(episode, *["look"] * 200)] == [False] * 199 + [True]
    lines = list(play(PlayRequest("alfworld", None, task, max_steps=None), source.game(task).walkthrough))
    assert lines[-1]["won"] is True


def test_the_settings_choose_a_split_of_one_length() -> None:
    settings = EnvSettings(synthetic_preset="horizon-3", synthetic_train=5, synthetic_valid=2)
    assert settings.max_steps == 150
    assert EnvSettings(synthetic_preset="horizon-3", max_steps=9).max_steps == 9
    source = open_configured_source(settings)
    assert all(task.startswith("synth-alfworld-horizon/3/") for split in source.splits() for task in source.ids(split))
    assert (len(source.ids("train")), len(source.ids("valid"))) == (5, 2)
    with pytest.raises(DataError, match="horizon-0"):
        open_configured_source(EnvSettings(synthetic_preset="horizon-0"))


def test_the_searching_player_understands_chains() -> None:
    source = SyntheticAlfworld(SplitSpec(horizon=5, train=12, valid=0))
    player = SearchPlayer(random.Random(0), PlayerConfig(noise=0.02, forget=0.0))
    played = [demonstrate(source.open(task), player) for task in source.ids("train")]
    assert sum(demo.won for demo in played) >= 11


@pytest.mark.parametrize("rest", ["0/1", "4", "4/x", "4/01", "04/1", "4/-1", "1001/1", "a/1", "1/1/1", ""])
def test_ids_outside_the_range_are_refused(rest: str) -> None:
    with pytest.raises(DataError):
        SyntheticAlfworld().resolve(f"synth-alfworld-horizon/{rest}")


# -- chains in game files ------------------------------------------------------------------------------------------

IN_FRIDGE = "(inReceptacle Apple_bar_1 Fridge_bar_1)"


def test_a_chain_in_a_game_file_is_read() -> None:
    game = kitchen(f"(in-order (and (isHot Apple_bar_2) (inReceptacle Apple_bar_2 Fridge_bar_1)) (and {IN_FRIDGE}))")
    assert [(game.items[s.item].name, s.treatment, game.receptacles[s.receptacle].name) for s in chain_of(game)] == [
        ("apple 1", TaskType.HEAT, "fridge 1"),
        ("apple 2", TaskType.PLACE, "fridge 1"),
    ]


@pytest.mark.parametrize(
    "goal",
    [
        "(in-order)",
        f"(in-order (and {IN_FRIDGE}) (and {IN_FRIDGE}))",
        "(in-order (and (isHot Apple_bar_1)))",
        f"(in-order (and (isSliced Apple_bar_1) {IN_FRIDGE}))",
        f"(in-order (and (isHot Apple_bar_2) {IN_FRIDGE}))",
        f"(in-order {GOALS['place']})",
        f"(in-order (and {APPLE_IN.format('FridgeType')}))",
        "(in-order (and (inReceptacle Ghost_bar_1 Fridge_bar_1)))",
    ],
)
def test_chains_that_make_no_sense_are_refused(goal: str) -> None:
    with pytest.raises(DataError, match=r"game\.tw-pddl"):
        parse_game(json.dumps(document(goal)), "game.tw-pddl")
