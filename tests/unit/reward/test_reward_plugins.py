"""Reward terms of users: how they are found, what they may return, and that none of them can hold up the others."""

import asyncio
import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from hand_made import Made, make_task, make_trajectory
from made_packages import install

from hiper.config import parse_config
from hiper.config.sections import RewardSettings
from hiper.errors import ConfigError, DependencyError
from hiper.rewards import TrajectoryView
from services.reward.calls import AllOverdue, BoundedThreads, CallFailed, Overdue, within
from services.reward.plugins import PluginTerms, TermError

ROOT = Path(__file__).resolve().parents[3]
MODULE = """
import asyncio, time

def ones(trajectory, *, value=1.0): return [value] * len(trajectory.turns)
async def twos(trajectory): await asyncio.sleep(0); return (2,) * len(trajectory.turns)
class Threes:
    async def __call__(self, trajectory): return [3.0 for _ in trajectory.turns]
threes = Threes()

def raises(trajectory): raise ValueError("no\\nrubric")
def exits(trajectory): raise SystemExit(3)
async def cancels(trajectory): raise asyncio.CancelledError
def short(trajectory): return [1.0]
def scalar(trajectory): return 1.0
def nan(trajectory): return [0.0] * (len(trajectory.turns) - 1) + [float("nan")]
def infinite(trajectory): return [float("-inf")] * len(trajectory.turns)
def words(trajectory): return ["1"] * len(trajectory.turns)
def nothing(trajectory): return None
def lazy(trajectory): yield 1.0
def writes(trajectory): trajectory.turns[0].action = "win"
async def slow(trajectory): await asyncio.sleep(3600)

number = 3
"""
PLAYED = make_trajectory([Made(switch=True), Made(valid=False), Made()], task=make_task(4), won=True)
VIEW = TrajectoryView.of(PLAYED)


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's installed package, with one module and two entry points."""
    install(tmp_path, "my_terms", MODULE, "hiper.reward_terms", {"ones": "ones", "gone": "gone"})
    (tmp_path / "broken_terms.py").write_text("import not_there_at_all\n")
    (tmp_path / "leaving_terms.py").write_text("raise SystemExit(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def terms(**named: object) -> PluginTerms:
    return PluginTerms(RewardSettings(terms=named))


def path(function: str, **settings: object) -> dict[str, object]:
    return {"path": f"my_terms:{function}", **settings}


async def test_terms_are_found_by_path_and_entry_point_and_weighted() -> None:
    found = terms(
        a=path("ones", weight=0.5),
        b=path("twos", weight=-1),
        c=path("threes"),
        d={"entry_point": "ones", "options": {"value": 7.0}},
    )
    assert await found.rewards(make_trajectory([])) == {}, "an abandoned episode"
    rewards = await found.rewards(PLAYED)
    assert {name: values.tolist() for name, values in rewards.items()} == {
        "a": [0.5] * 3,
        "b": [-2] * 3,
        "c": [3] * 3,
        "d": [7] * 3,
    }


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ({"path": "not_there:f"}, "reward.terms.mine: cannot import not_there:f: ModuleNotFoundError: No module named"),
        ({"path": "broken_terms:f"}, "cannot import broken_terms:f: ModuleNotFoundError"),
        ({"path": "leaving_terms:f"}, "cannot import leaving_terms:f: SystemExit"),
        (path("gone"), "cannot import my_terms:gone: AttributeError"),
        (path("number"), "my_terms:number is no function but 3"),
        (
            path("ones", options={"valeu": 1}),
            "mine: TypeError: got an unexpected keyword argument 'valeu'",
        ),
        ({"entry_point": "gone"}, "cannot import entry point gone: AttributeError"),
        ({"entry_point": "polite"}, "no installed package offers the reward term 'polite'"),
        ({"judge": {"url": "http://h/", "token_env": "NOT_SET_ANYWHERE"}}, "variable NOT_SET_ANYWHERE is not set"),
        ({"judge": {"url": "http://h/", "token_file": "/not/there"}}, "cannot read token file /not/there"),
    ],
)
def test_a_term_that_cannot_be_used_is_refused_at_start_in_one_line(term: object, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as refused:
        terms(mine=term)
    assert "\n" not in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": path("ones")}, "'keep' is the name of a built-in term"),
        ({"mine": {}}, "exactly one of path, entry_point and judge"),
        ({"mine": {"path": "my_terms:ones", "entry_point": "ones"}}, "exactly one of path, entry_point and judge"),
        ({"mine": path("ones", weight=float("nan"))}, "reward.terms.mine.weight"),
        ({"mine": path("ones", wieght=1)}, "did you mean 'weight'"),
        ({"mine": {"judge": {"url": "https://me:secret@host/"}}}, "reward.terms.mine.judge.url"),
        ({"mine": {"judge": {"url": "http://h", "token_env": "A", "token_file": "b"}}}, "not both"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_starts(settings: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({"reward": {"terms": settings}}, source="run.yaml", environment={})


@pytest.mark.parametrize(
    ("function", "reason", "message"),
    [
        ("raises", "raised", "reward term 'mine' raised ValueError: no rubric"),
        ("exits", "raised", "raised SystemExit: 3"),
        ("cancels", "raised", "raised CancelledError"),
        ("writes", "raised", "raised FrozenInstanceError"),
        ("slow", "deadline", r"did not end within 0.1 s \(timeout_s\)"),
        ("short", "length", "returned 1 numbers for 3 turns"),
        ("scalar", "length", "returned one number for 3 turns"),
        ("nan", "value", "returned nan for turn 2"),
        ("infinite", "value", "returned -inf for turn 0"),
        ("words", "value", "returned a list that is no list of numbers"),
        ("nothing", "value", "returned a NoneType"),
        ("lazy", "value", "returned a generator"),
    ],
)
async def test_a_term_that_fails_is_named_with_its_reason(function: str, reason: str, message: str) -> None:
    found = terms(good=path("ones"), mine=path(function, timeout_s=0.1 if reason == "deadline" else 30))
    with pytest.raises(TermError, match=message) as failed:
        await found.rewards(PLAYED)
    assert (failed.value.term, failed.value.reason) == ("mine", reason)


async def test_a_view_shows_what_was_played_and_lets_nobody_change_it() -> None:
    assert (VIEW.trajectory_id, VIEW.won, VIEW.terminated, VIEW.evaluation) == (
        "test/train-000000/0/4",
        True,
        True,
        False,
    )
    assert [turn.is_switch for turn in VIEW.turns] == [True, False, False]
    assert [turn.valid for turn in VIEW.turns] == [True, False, True]
    assert {(turn.response_tokens, turn.subgoal, turn.stop_reason) for turn in VIEW.turns} == {
        (9, "find a mug", "stop")
    }


async def test_the_example_works_as_its_words_say(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT / "examples"
    text = (folder / "reward_term.py").read_text()
    assert len(text.splitlines()) <= 30
    monkeypatch.syspath_prepend(folder)
    settings = {"path": re.search(r'path: "([^"]+)"', text)[1], "weight": 0.05, "options": {"window": 2}}
    made = make_trajectory([Made()] * 5)
    for turn, action in zip(made.turns, ("look", "go", "look", "take", "go"), strict=True):
        turn.action = action
    rewards = await terms(repetition=settings).rewards(made)
    np.testing.assert_allclose(rewards["repetition"], [0, 0, -0.05, 0, 0])


def test_the_configuration_in_the_documents_is_one() -> None:
    [block] = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "rewards.md").read_text(), re.DOTALL)
    config = parse_config(yaml.safe_load(block), source="docs/rewards.md", environment={})
    assert set(config.reward.terms) == {"repetition", "politeness", "tone"}


class Gate:
    """Blocking calls that end when they are told to."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.inside = 0
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.opened.wait(30)
        with self._lock:
            self.inside -= 1
        return 7


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


async def test_blocking_calls_run_beside_the_event_loop_a_few_at_a_time() -> None:
    threads, gate = BoundedThreads(3), Gate()
    calls = [asyncio.create_task(threads.call(30, gate)) for _ in range(8)]
    await until(lambda: gate.inside == 3)  # this loop turns while they block
    gate.opened.set()
    assert await asyncio.gather(*calls) == [7] * 8
    assert gate.most == 3


async def test_a_call_that_overruns_keeps_its_thread_until_it_ends() -> None:
    threads, gate = BoundedThreads(2), Gate()
    with pytest.raises(Overdue):
        await threads.call(0.05, gate)
    assert await threads.call(30, lambda: 1) == 1, "there is another thread"
    with pytest.raises(Overdue):
        await threads.call(0.05, gate)
    with pytest.raises(AllOverdue, match="all 2 threads of reward terms are held"):
        await threads.call(30, lambda: 1)
    gate.opened.set()
    await until(lambda: gate.inside == 0)
    assert await threads.call(30, lambda: 2) == 2, "the threads are free again"


async def test_callers_that_wait_for_a_thread_learn_that_none_will_come() -> None:
    threads, gate = BoundedThreads(1), Gate()
    overdue, waiting = await asyncio.gather(
        threads.call(0.1, gate), threads.call(30, lambda: 1), return_exceptions=True
    )
    assert isinstance(overdue, Overdue)
    assert isinstance(waiting, AllOverdue)
    assert isinstance(waiting, DependencyError), "the service ends with one line, and the entries stay pending"
    gate.opened.set()


async def test_an_error_keeps_its_cause() -> None:
    def fail() -> None:
        raise StopIteration("enough")

    async def fail_later() -> None:
        raise TimeoutError("theirs, not ours")

    with pytest.raises(CallFailed) as failed:
        await BoundedThreads(1).call(30, fail)
    assert isinstance(failed.value.__cause__, StopIteration)
    with pytest.raises(CallFailed) as failed:
        await within(30, fail_later())
    assert isinstance(failed.value.__cause__, TimeoutError)
