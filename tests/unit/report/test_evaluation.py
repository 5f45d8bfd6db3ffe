"""The report of an evaluation: figures from its episodes, gone on with under the same conditions, paired by task."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from panels_made import made_panel

from hiper.errors import DataError, RunStateError
from hiper.report.checkpoint import Checkpoint
from hiper.report.comparison import compare, comparison_lines
from hiper.report.evaluation import Conditions, Evaluation, PlayedEpisode, evaluation_lines, read_evaluation
from hiper.statistics import paired_difference_interval, success_row

PANEL = made_panel("valid", 8)
SETTINGS = {"temperature": 0.4, "seed": 0, "prompt": {"style": "compact"}}
MODEL = Checkpoint("models/a", 3, "a" * 64, {}, "")


def conditions(**settings: object) -> Conditions:
    return Conditions.of(MODEL, PANEL, {**SETTINGS, **settings})


def episode(number: int, **fields: object) -> PlayedEpisode:
    task = PANEL.tasks[number]
    made = PlayedEpisode(task.id, task.sha256, task.type or "", turns=number + 1, clipped=number % 2)
    return replace(made, **fields)  # type: ignore[arg-type]


def evaluation(*episodes: PlayedEpisode, of: Conditions | None = None) -> Evaluation:
    return Evaluation(of or conditions(), {one.task_id: one for one in episodes}, 12.5)


def wins(*won: int, played: range = range(8)) -> Evaluation:
    return evaluation(*(episode(n, won=n in won, score=float(n in won)) for n in played))


def test_figures_are_those_of_the_episodes_played_to_an_end() -> None:
    made = evaluation(
        episode(0, won=True, score=0.5),
        episode(1, truncated=True, malformed=2),
        episode(2, won=True, score=1.0),
        episode(3, turns=0, clipped=0, abandoned="environment", error="it fell over"),
    )
    result = made.result()
    assert {key: result[key] for key in success_row(2, 3)} == success_row(2, 3)
    assert (result["mean_score"], result["mean_turns"], result["turns"]) == (0.5, 2.0, 6)
    assert (result["truncated_episodes"], result["clipped_responses"], result["malformed_responses"]) == (1, 1, 2)
    assert result["abandoned"] == {"environment": 1}
    assert {kind: row["won"] for kind, row in result["by_task_type"].items()} == {"heat": 0, "pick": 2}
    assert not made.complete
    text = "\n".join(evaluation_lines(made))
    for words in ("models/a, version 3", "4 of 8 tasks", "66.7%", "environment 1", "it fell over"):
        assert words in text


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    made, path = wins(1, 2), tmp_path / "report.json"
    made.write(path)
    assert read_evaluation(path) == made
    assert made.complete
    assert json.loads(path.read_text())["result"]["won"] == 2


def test_a_second_sitting_keeps_what_was_played_and_repeats_what_was_abandoned(tmp_path: Path) -> None:
    first = evaluation(episode(0, won=True), episode(1, abandoned="engine"))
    second = evaluation()
    second.resume(first, tmp_path)
    assert list(second.episodes) == [PANEL.tasks[0].id]
    assert second.seconds == first.seconds


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Conditions.of(replace(MODEL, sha256="b" * 64), PANEL, SETTINGS), "another model"),
        (Conditions.of(MODEL, made_panel("valid", 7), SETTINGS), "another panel"),
        (conditions(temperature=1.0), "temperature is 1.0 there and 0.4 now"),
    ],
)
def test_a_report_of_something_else_is_not_gone_on_with(other: Conditions, words: str) -> None:
    with pytest.raises(RunStateError, match=words) as refused:
        evaluation().resume(evaluation(episode(0), of=other), Path("report.json"))
    assert "--out" in refused.value.hint


def test_a_model_that_was_moved_is_the_same_model() -> None:
    moved = Conditions.of(replace(MODEL, path="elsewhere", version=None), PANEL, SETTINGS)
    assert conditions().first_difference(moved) == ""
    hub = Conditions.of(Checkpoint("org/one", None, "", {}, ""), PANEL, SETTINGS)
    assert "org/one" in hub.first_difference(Conditions.of(Checkpoint("org/two", None, "", {}, ""), PANEL, SETTINGS))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"evaluation": 1}', '{"evaluation": 99}'])
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"report\.json"):
        read_evaluation(path)


def test_a_comparison_pairs_the_tasks_both_played() -> None:
    before, after = wins(0, 1, played=range(6)), wins(1, 2, 3, played=range(1, 8))
    made = compare(before, after)
    assert made["won"] == {"both": 1, "only_against": 0, "only_this": 2, "neither": 2}
    assert (made["tasks"], made["left_out"], made["success"]) == (5, 3, 0.4)
    assert (made["low"], made["high"]) == paired_difference_interval(1, 0, 2, 2)
    text = "\n".join(comparison_lines(made))
    assert "+40.0%" in text
    assert "left out: 3" in text
    assert "OTHER SETTINGS" not in text


def test_a_comparison_says_which_settings_differ() -> None:
    other = evaluation(episode(0), of=conditions(temperature=1.0))
    assert "OTHER SETTINGS: temperature" in "\n".join(comparison_lines(compare(other, wins(0))))


def test_tasks_of_the_same_name_and_another_content_are_no_pair() -> None:
    with pytest.raises(DataError, match="nothing to compare"):
        compare(evaluation(episode(0, task_sha256="f" * 64)), wins(0))
    with pytest.raises(DataError, match="nothing to compare"):
        compare(evaluation(episode(0, abandoned="engine")), wins(0))


@given(st.sets(st.integers(0, 7)), st.sets(st.integers(0, 7)))
def test_turning_a_comparison_round_turns_its_sign(one: set[int], other: set[int]) -> None:
    there, back = compare(wins(*one), wins(*other)), compare(wins(*other), wins(*one))
    assert there["success"] == -back["success"] == (len(other) - len(one)) / 8
    assert there["mean_score"] == pytest.approx(-back["mean_score"])
    assert (there["low"], there["score_low"]) == (pytest.approx(-back["high"]), pytest.approx(-back["score_high"]))
