"""Environments of the user's own: found by path or entry point, played by the same rules as the built-in ones."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_packages import install

from hiper.config import parse_config
from hiper.config.sections import ChatPrompt, EnvSettings
from hiper.envs.base import EpisodeOver, TaskSource
from hiper.envs.configured import open_configured_source
from hiper.envs.custom import Play, StepResult, TextEnvironment
from hiper.envs.panels import check_panel, make_panel, overlap
from hiper.envs.play import PlayRequest, play
from hiper.envs.registry import open_source
from hiper.errors import ConfigError, DataError
from hiper.plan_execute.prompt import PromptInput, make_builder

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
EXAMPLE = "key_and_door:KeyAndDoor"
PLAN = ["go right", "take key", "go right", "open door"]
MODULE = """
from hiper.envs.custom import StepResult, TextEnvironment

class Dice(TextEnvironment):
    env = "dice"
    def __init__(self, data=None, sides=6): self.data, self.sides = data, sides
    def tasks(self): return {"train": ["b", "a"], "valid": [], "test": ["c"]}
    def play(self, task, seed):
        while True: yield StepResult(f"{task}: {(seed * 7 + 3) % self.sides}", ["roll"])

class Short(Dice):
    def play(self, task, seed): yield StepResult("on", ("go",))
class Words(Dice):
    def play(self, task, seed): yield "on"
class Stuck(Dice):
    def play(self, task, seed): yield StepResult("on", ())
class Twice(Dice):
    def tasks(self): return {"train": ["a"], "valid": ["a"]}

def nothing(): return 3
number = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example, and a user's installed package with one module and one entry point."""
    install(tmp_path, "my_envs", MODULE, "hiper.environments", {"dice": "Dice"})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)


def configured(**settings: object) -> TaskSource:
    return open_configured_source(EnvSettings.model_validate(settings))


def test_the_example_is_short_and_playable() -> None:
    assert len((EXAMPLES / "key_and_door.py").read_text().splitlines()) <= 50
    lines = list(play(PlayRequest(EXAMPLE, None, "train/1-1"), ["go right", "dance", "take key", "open door"]))
    assert "Your task is to: open the door in room 1" in str(lines[0]["observation"])
    assert [line["observation"] for line in lines[1:3]] == [
        "You are in room 1. You see a key.", "Nothing happens. You are in room 1. You see a key.",
    ]  # fmt: skip
    assert (lines[-1]["won"], lines[-1]["reward"], lines[-1]["terminated"]) == (True, 1.0, True)
    assert json.loads(json.dumps(lines)) == lines


def test_its_splits_are_disjoint_and_make_a_panel() -> None:
    source = open_source(EXAMPLE)
    train, valid = (make_panel(source, split) for split in ("train", "valid"))
    rooms = [{task.id.partition("/")[2] for task in panel.tasks} for panel in (train, valid)]
    assert not rooms[0] & rooms[1]
    assert overlap(train.tasks, valid.tasks) is None
    assert check_panel(valid, open_source(EXAMPLE)).by_bytes == len(valid.tasks)
    with pytest.raises(DataError, match=r"data\.version is 1-5 here and 1-8 in the panel"):
        check_panel(valid, open_source(EXAMPLE, rooms=5))


@given(st.lists(st.sampled_from(["go left", "go right", "take key", "open door", "look"]) | st.text(), max_size=60))
def test_any_play_keeps_the_laws_of_an_episode(actions: list[str]) -> None:
    source = open_source(EXAMPLE)
    episode, again = (source.open("train/1-3", max_steps=50) for _ in range(2))
    before = episode.reset()
    seen = [before]
    for action in actions:
        if before.done:
            with pytest.raises(EpisodeOver, match=f"ended after step {episode.steps}"):
                episode.step(action)
            break
        after = episode.step(action)
        assert after.action_valid == (action in before.admissible)
        assert after.admissible or after.terminated
        assert after.truncated == (episode.steps == 50 and not after.terminated)
        seen.append(before := after)
    assert [again.reset(), *(again.step(action) for action in actions[: len(seen) - 1])] == seen
    assert episode.reset() == seen[0]
    assert episode.steps == 0


def test_by_path_and_by_entry_point_with_options() -> None:
    by_path = configured(name="my_envs:Dice", options={"sides": 5}, data="/some/folder")
    by_entry_point = configured(name="entry-point:dice")
    assert (by_path.sides, by_path.data, by_entry_point.sides) == (5, Path("/some/folder"), 6)  # type: ignore[attr-defined]
    assert (by_path.splits(), by_path.ids("train")) == (("train", "test"), ["a", "b"])
    assert by_path.open("a", seed=1).reset().observation == "a: 0"
    assert next(play(PlayRequest("my_envs:Dice", None, "a", seed=2), []))["observation"] == "a: 5"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "chess"}, "there is no environment 'chess'"),
        ({"name": "alfworld", "options": {"rooms": 3}}, "alfworld takes none"),
    ],
)
def test_settings_that_make_no_sense_are_refused_at_load(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_config({"env": settings}, source="run.yaml", environment={})


def test_the_warm_start_demonstrates_alfworld_only() -> None:
    tree = {"env": {"name": EXAMPLE}, "warmstart": {"enabled": True}, "rollout": {"prompt": {"style": "compact"}}}
    with pytest.raises(ConfigError, match="its demonstrator plays alfworld, not key_and_door:KeyAndDoor"):
        parse_config(tree, source="run.yaml", environment={})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "not_there:Env"}, "environment not_there:Env: cannot import not_there:Env: ModuleNotFoundError"),
        ({"name": "my_envs:Gone"}, "cannot import my_envs:Gone: AttributeError"),
        ({"name": "my_envs:number"}, "my_envs:number is no function but 3"),
        ({"name": "my_envs:nothing"}, "is no TaskSource but 3"),
        ({"name": "my_envs:Dice", "options": {"side": 5}}, "got an unexpected keyword argument 'side'"),
        ({"name": EXAMPLE, "data": "x"}, "got an unexpected keyword argument 'data'"),
        ({"name": "entry-point:cards"}, "no installed package offers the environment 'cards'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as refused:
        configured(**settings)
    assert "\n" not in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Short", "task a: after step 1: `play` returned before an answer that is terminated"),
        ("Words", "task a: after step 0: `play` yielded str, not a StepResult"),
        ("Stuck", "task a: after step 0: there is no action to take, yet the episode is not terminated"),
        ("Twice", "task a is in train and in valid"),
    ],
)
def test_a_defect_of_the_environment_names_the_task(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(play(PlayRequest(f"my_envs:{name}", None, "a"), ["go"]))


def test_unknown_tasks_and_splits_are_refused() -> None:
    source = open_source(EXAMPLE)
    with pytest.raises(DataError, match="no task 'train/9-9'"):
        source.open("train/9-9")
    with pytest.raises(DataError, match="no split 'holiday'"):
        source.ids("holiday")


def test_a_panel_notices_new_rules_by_the_version() -> None:
    class One(TextEnvironment):
        env = "one"

        def tasks(self) -> dict[str, list[str]]:
            return {"valid": ["a"]}

        def play(self, task: str, seed: int) -> Play:
            yield StepResult("Your task is to: wait.", ("wait",))

    class Other(One):
        version = "2"

    class Told(One):
        def play(self, task: str, seed: int) -> Play:
            yield StepResult("Your task is to: run.", ("wait",))

    panel = make_panel(One(), "valid")
    assert check_panel(panel, One()).tasks == 1
    with pytest.raises(DataError, match=r"data\.version is 2 here and 1 in the panel"):
        check_panel(panel, Other())
    with pytest.raises(DataError, match="task a differs"):
        check_panel(panel, Told())


def test_the_prompt_of_an_environment_of_ones_own() -> None:
    shown = PromptInput("open the door", "You are in room 0.", ("look",), None)
    assert "acting in an environment described in text" in make_builder(ChatPrompt(), EXAMPLE).build(shown)
    assert make_builder(ChatPrompt(role="You are a janitor."), EXAMPLE).build(shown).startswith("You are a janitor.")


def test_the_example_of_the_documents_plays() -> None:
    page = (EXAMPLES.parent / "docs" / "environments.md").read_text()
    block = page.partition("```python\n")[2].partition("```")[0]
    names: dict[str, type[TextEnvironment]] = {}
    exec(block, names)
    episode = names["Countdown"]().open("from/5")
    assert episode.reset().observation == "Your task is to: reach 0. You are at 5."
    assert [episode.step("down").won for _ in range(5)] == [False] * 4 + [True]
