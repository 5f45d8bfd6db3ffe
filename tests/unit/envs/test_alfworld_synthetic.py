"""Generated games: solvable, reproducible to the byte, and split without overlap."""

import hashlib
import json

import pytest

from hiper.envs.alfworld.engine import AlfworldEpisode
from hiper.envs.alfworld.generator import content_key, generate_game, generate_json
from hiper.envs.alfworld.layout import DEMO_TYPES, GameSpec
from hiper.envs.alfworld.model import Game, TaskType
from hiper.envs.alfworld.synthetic import FIRST_VALID_SEED, SplitSpec, SyntheticAlfworld, build_split
from hiper.envs.base import TaskSource
from hiper.errors import DataError

SPECS = [GameSpec(size, kind, seed) for size in (3, 7, 20, 60) for kind in TaskType for seed in range(30)]
SPECS += [GameSpec("demo", kind, seed) for kind in DEMO_TYPES for seed in range(70)]


def plays(game: Game) -> list[tuple[str, bool]]:
    episode = AlfworldEpisode(game)
    results = [episode.step(command) for command in game.walkthrough]
    assert all(result.action_valid and result.admissible for result in results)
    return [(result.observation, result.won) for result in results]


def test_every_walkthrough_wins_at_its_last_command_only() -> None:
    for spec in SPECS:
        game = generate_game(spec)
        assert game.task_type == spec.task_type
        won = [won for _, won in plays(game)]
        assert won == [False] * (len(won) - 1) + [True], spec.task_id


def test_the_size_is_the_number_of_receptacles_and_names_are_unique() -> None:
    for spec in SPECS:
        game = generate_game(spec)
        names = [thing.name for thing in (*game.items, *game.receptacles)]
        assert len(set(names)) == len(names)
        assert len(game.receptacles) in (range(6, 9) if spec.size == "demo" else (spec.size,))
        assert not game.places[game.start.place].receptacles


def test_the_same_specification_gives_the_same_bytes() -> None:
    for spec in SPECS[::7]:
        assert generate_json(spec) == generate_json(GameSpec.from_id(spec.task_id))


def test_a_changed_generator_is_noticed() -> None:
    """Panels pin hashes of generated games: a change here is a new generator version, to be written down as one."""
    texts = "".join(generate_json(GameSpec(size, TaskType.HEAT, 7)) for size in ("demo", 3, 30))
    assert (
        hashlib.sha256(texts.encode()).hexdigest() == "836f6fff89cb6a00d3844ba116e00da94983028be659cc40d779fe6a18bf96e5"
    )


def test_generated_files_have_the_form_of_real_ones() -> None:
    document = json.loads(generate_json(GameSpec(8, TaskType.CLEAN, 1)))
    assert set(document) == {"grammar", "pddl_domain", "pddl_problem", "solvable", "walkthrough"}
    assert document["solvable"] is True
    for constant in ("SinkType", "SinkBasinType", "MicrowaveType", "FridgeType", "KnifeType", "ButterKnifeType"):
        assert f"{constant} - " in document["pddl_problem"]


def test_demo_kitchens_are_what_the_study_used() -> None:
    games = [generate_game(GameSpec("demo", kind, seed)) for kind in DEMO_TYPES for seed in range(100)]
    kinds = {item.name.split()[0] for game in games for item in game.items}
    assert kinds == {"apple", "bread", "cup", "egg", "mug", "plate", "potato", "tomato"}
    always = {"countertop 1", "diningtable 1", "cabinet 1", "fridge 1", "microwave 1", "sinkbasin 1"}
    for game in games:
        assert always <= {receptacle.name for receptacle in game.receptacles}
        assert 4 <= len(game.items) <= 6
        assert all(len(place.receptacles) <= 1 for place in game.places)
    eggs_at_home = [
        game.receptacles[r].name == "fridge 1"
        for game in games
        for r, found in enumerate(game.start.contents)
        for item in found
        if game.items[item].name.startswith("egg ")
    ]
    assert 0.6 < sum(eggs_at_home) / len(eggs_at_home) < 0.9


def test_splits_have_no_seed_and_no_content_in_common() -> None:
    split = build_split(SplitSpec(train=400, valid=80))
    assert (len(split.train), len(split.valid)) == (400, 80)
    train, valid = ([GameSpec.from_id(task_id) for task_id in ids] for ids in (split.train, split.valid))
    assert all(spec.seed < FIRST_VALID_SEED for spec in train)
    assert all(spec.seed >= FIRST_VALID_SEED for spec in valid)
    keys = [content_key(spec) for spec in (*train, *valid)]
    assert len(set(keys)) == len(keys)
    assert {spec.task_type for spec in valid} == set(DEMO_TYPES)


def test_content_duplicates_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every third seed is the same game as the one before it, in both ranges.
    monkeypatch.setattr(
        "hiper.envs.alfworld.synthetic.content_key", lambda spec: str((spec.seed % FIRST_VALID_SEED) * 2 // 3)
    )
    split = build_split(SplitSpec(train=20, valid=0))
    seeds = [GameSpec.from_id(task_id).seed for task_id in split.train]
    assert len({seed * 2 // 3 for seed in seeds}) == 20
    assert split.duplicates == seeds[-1] + 1 - 20
    with pytest.raises(DataError, match="different games"):  # all held-out games repeat training games
        build_split(SplitSpec(train=200, valid=1))


def test_the_source_serves_its_splits_and_any_other_id() -> None:
    source = SyntheticAlfworld(SplitSpec(size=5, types=tuple(TaskType), train=12, valid=6))
    assert isinstance(source, TaskSource)
    assert source.splits() == ("train", "valid")
    assert (len(source.ids("train")), len(source.ids("valid"))) == (12, 6)
    assert source.ids("train") == sorted(source.ids("train"))
    outside = "synth-alfworld/demo/pick_and_place_simple/123456"
    assert source.resolve(outside) == outside
    info = source.describe(outside)
    assert (info.split, info.task_type, info.env) == ("train", "pick_and_place_simple", "alfworld")
    assert source.describe(source.ids("valid")[0]).split == "valid"
    assert source.open(outside, max_steps=1).step("look").truncated


@pytest.mark.parametrize(
    "task_id",
    [
        "",
        "synth-alfworld/demo/pick_and_place_simple",
        "synth-alfworld/demo/pick_and_place_simple/x",
        "synth-alfworld/demo/pick_and_place_simple/-1",
        "synth-alfworld/demo/pick_and_place_simple/007",
        "synth-alfworld/demo/pick_two_obj_and_place/1",
        "synth-alfworld/2/pick_and_place_simple/1",
        "synth-alfworld/61/pick_and_place_simple/1",
        "synth-alfworld/8/juggle/1",
        "synth-webshop/8/pick_and_place_simple/1",
    ],
)
def test_ids_the_generator_does_not_know_are_refused(task_id: str) -> None:
    with pytest.raises(DataError):
        SyntheticAlfworld().open(task_id)
