"""`hiper bench`: one JSON object, in which every figure has its spread, and says whether its target is met."""

import json
from pathlib import Path

import pytest
from command_line import hiper, refused

from hiper.bench.timing import Figure, Report, Target

SMALL = ("--repeats", "1", "--scale", "0.02")


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        (
            "env",
            {"alfworld.steps", "alfworld.reset", "alfworld.load", "alfworld.session_memory", "alfworld.grpc_batch_64"},
        ),
        ("advantages", {"whole call, 40 tokens", "whole call, 512 tokens", "per-turn part, hae"}),
        ("streams", set()),
    ],
)
def test_a_benchmark_prints_one_json_object(name: str, figures: set[str]) -> None:
    done = hiper("bench", name, "--json", *SMALL)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["benchmark"] == name
    assert report["machine"]["cores"] >= 1
    assert figures <= {figure["name"] for figure in report["figures"]}
    assert report["figures"]
    for figure in report["figures"]:
        assert 0 < figure["min"] <= figure["median"] <= figure["max"], figure
        assert ("target" in figure) == ("target_met" in figure)


def test_what_could_not_be_measured_is_said() -> None:
    done = hiper("bench", "env", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "the original ALFWorld was not measured: it plays real games only" in done.stdout


def test_data_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    refused(hiper("bench", "env", "--data", str(tmp_path / "none"), *SMALL), 1, "none")


def test_the_median_is_held_against_the_target() -> None:
    report = Report("x", {}, 3)
    report.figures = [
        Figure("fast", "ms", [1.0, 2.0, 9.0], "repeats", Target(2.0, at_most=True)),
        Figure("slow", "steps/s", [1.0, 2.0, 9.0], "repeats", Target(3.0)),
        Figure("free", "steps/s", [1.0, 2.0, 9.0], "repeats"),
    ]
    fast, slow, free = report.to_json()["figures"]  # type: ignore[misc]
    assert (fast["median"], fast["target_met"], slow["target_met"]) == (2.0, True, False)
    assert "target" not in free
    table = report.lines()
    assert table[2].endswith("≤ 2 met")
    assert table[3].endswith("≥ 3 MISSED")
