"""A poisoned trajectory goes to the dead letters with its reason, a newer one waits, and the others flow."""

import asyncio
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from hand_made import Made, ids, make_task, make_trajectory
from known_batches import SIZE, assert_as_computed_directly, make_batch
from pipeline_world import Critic, World, eventually, new_world, start_service

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.errors import ExitCode
from hiper.metrics import render
from hiper.streams import DeadLetters, FutureSchema
from hiper.streams import entry as stream_entry
from hiper.vocabulary import Stream

TERMS = """
import asyncio

def zeros(trajectory): return [0.0] * len(trajectory.turns)
def poison(trajectory): return trajectory.task_id == "poison"

def raises(trajectory):
    if poison(trajectory): raise RuntimeError("no rubric")
    return zeros(trajectory)
def short(trajectory): return zeros(trajectory)[poison(trajectory):]
def nan(trajectory): return [float("nan") if poison(trajectory) else 0.0 for _ in trajectory.turns]
gate = asyncio.Event()
async def waits(trajectory):
    if poison(trajectory): await gate.wait()
    return zeros(trajectory)
async def slow(trajectory):
    if poison(trajectory): await asyncio.sleep(3600)
    return zeros(trajectory)
"""
Spoil = Callable[[Trajectory], object]


@pytest.fixture(autouse=True)
def terms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "poison_terms.py").write_text(TERMS)
    monkeypatch.syspath_prepend(tmp_path)


def poisoned(spoil: Spoil = lambda made: None, sample: int = 0, size: int = 2) -> Trajectory:
    made = make_trajectory([Made(), Made()], task=make_task(sample, batch="train-000009", size=size))
    made.task.task_id = "poison"
    spoil(made)
    return made


def set_turn(name: str, value: object) -> Spoil:
    return lambda made: setattr(made.turns[1], name, value)


def set_schema(version: int) -> Spoil:
    return lambda made: setattr(made, "schema_version", version)


POISON: tuple[tuple[Spoil, str], ...] = (
    (set_turn("index", 7), "it contradicts itself: turn 7 at position 1"),
    (
        lambda made: setattr(made.turns[1].action_span, "end", 99),
        "it contradicts itself: turn 1: action span [6, 99) in 9 tokens",
    ),
    (set_turn("response_logprobs", ids(1)), "it contradicts itself: turn 1: 1 log-probabilities for 9 tokens"),
    (set_turn("env_reward", float("nan")), "it contradicts itself: turn 1: env_reward is nan"),
    (
        lambda made: setattr(made.outcome, "truncated", True),
        "it contradicts itself: both terminated and truncated",
    ),
    (set_schema(0), "its schema_version is 0, unknown here"),
    (set_schema(99), "its schema_version is 99, unknown here"),
)


async def assert_only_poison_is_dead(world: World, errors: list[str], **reward: object) -> None:
    """A sound batch arrives whole and right; `errors` are all there is among the dead letters."""
    async with Critic().serving() as address:
        world.run((await world.reward(**reward))[0])
        world.run((await world.hae(address))[0])
        await world.publish(make_batch("train-000000"))
        assert_as_computed_directly([entry.trajectory() for entry in await world.handed_on(SIZE)])
        assert sorted(await world.dead_letters(len(errors))) == sorted(errors)
    assert (await world.state()).counts.dead_lettered == len(errors)


async def test_every_kind_of_contradiction_is_told_and_the_others_flow(world: World) -> None:
    made = [poisoned(spoil, sample, len(POISON) + 1) for sample, (spoil, _) in enumerate(POISON)]
    await world.publish(made)
    errors = [f"trajectory {one.task.trajectory_id}: {reason}" for one, (_, reason) in zip(made, POISON, strict=True)]
    await assert_only_poison_is_dead(world, errors)


@pytest.mark.parametrize(
    ("term", "reason", "message"),
    [
        ("raises", "raised", "raised RuntimeError: no rubric"),
        ("short", "length", "returned 1 numbers for 2 turns"),
        ("nan", "value", "returned nan for turn 0"),
        ("slow", "deadline", "did not end within 0.5 s (timeout_s)"),
    ],
)
async def test_a_term_that_fails_costs_its_trajectory_and_no_other(
    world: World, term: str, reason: str, message: str
) -> None:
    await world.publish([poisoned()])
    error = f"trajectory test/train-000009/0/0: reward term 'my_{term}' {message}"
    mine = {"path": f"poison_terms:{term}", "timeout_s": 0.5}
    await assert_only_poison_is_dead(world, [error], terms={f"my_{term}": mine})
    counted = f'hiper_reward_term_failures_total{{reason="{reason}",term="my_{term}"}} 1.0'
    assert counted in render().decode()


async def test_a_term_that_waits_keeps_its_trajectory_and_holds_up_no_other(tmp_path: Path) -> None:
    """For several times the age at which somebody else would take the trajectory over."""
    async with new_world(tmp_path, claim_idle_s=0.4) as world, Critic().serving() as address:
        world.run((await world.reward(terms={"mine": {"path": "poison_terms:waits"}}))[0])
        world.run((await world.hae(address))[0])
        await world.publish([poisoned(size=1), *make_batch("train-000000", size=40)])
        await world.handed_on(40)
        _, rival = await world.reward("reward-1")
        for _ in range(30):  # each look waits for 50 ms
            assert await rival.receive(1) == []
        import_module("poison_terms").gate.set()

        async def arrived() -> bool:
            return (await world.state()).streams[Stream.ADVANTAGES].length == 41

        await eventually(arrived)


async def test_a_replayed_dead_letter_completes_its_batch_once_the_term_is_mended(world: World) -> None:
    made = [poisoned(sample=sample) for sample in range(2)]
    made[0].task.task_id = "sound"
    broken = world.run((await world.reward(terms={"mine": {"path": "poison_terms:short"}}))[0])
    await world.publish(made)
    await world.dead_letters(1)
    world.stop.set()
    await broken
    world.stop.clear()
    letters = DeadLetters(world.broker)
    [letter] = await letters.list()
    assert await letters.replay(letter.entry_id)
    async with Critic().serving() as address:
        world.run((await world.reward("reward-1"))[0])
        world.run((await world.hae(address))[0])
        assert len(await world.handed_on(2)) == 2
    assert (await world.state()).counts.dead_lettered == 0


async def test_an_entry_of_a_newer_schema_stops_the_service_and_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_batch("train-000000")
    with monkeypatch.context() as newer:
        newer.setattr(stream_entry, "SCHEMA_VERSION", 2)
        await world.publish(made[:1])
    await world.publish(made[1:])
    with pytest.raises(BaseExceptionGroup) as stopped:
        await world.run((await world.reward())[0])
    assert stopped.group_contains(FutureSchema, match="has schema 2, this process knows up to 1")
    state = await world.state()
    assert (state.dead_letters, state.streams[Stream.RAW].length) == (0, SIZE)


async def test_a_process_with_a_term_it_cannot_import_ends_at_once_with_one_line(world: World, tmp_path: Path) -> None:
    terms = "reward: {terms: {mine: {path: 'not_there:f'}}}\n"
    process = start_service("reward", tmp_path, world.running.url, "", settings=terms)
    assert await asyncio.to_thread(process.wait, 60) == ExitCode.USAGE
    lines = [json.loads(line) for line in (tmp_path / "reward-0.log").read_text().splitlines()]
    [failed] = [line for line in lines if line["level"] == "error"]
    assert "reward.terms.mine: cannot import not_there:f: ModuleNotFoundError" in failed["error"]
