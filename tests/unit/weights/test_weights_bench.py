"""The part of `hiper bench weights` that needs neither a model nor vLLM, on little data."""

from hiper.bench.timing import BenchOptions, Figure, Report
from hiper.bench.weights import run


def test_every_way_is_measured_beside_what_the_bytes_take_alone() -> None:
    said: list[str] = []
    report = run(BenchOptions(repeats=1, scale=0.02), said.append)
    figures = {figure.name: figure for figure in report.figures}
    assert {
        "filesystem: publish to verified, against the disk",
        "http, fixed link: fetch to verified, against the link",
        "sent by the learner to 6 rollouts",
    } <= figures.keys()
    assert all(value > 0 for figure in report.figures for value in figure.values)
    (sent,) = figures["sent by the learner to 6 rollouts"].values
    assert 1.0 <= sent <= 6.1, (
        "what the learner sends is the model once at least, and not more than every rollout takes"
    )
    assert said == ["repeat 1 of 1"]


def test_parts_of_a_benchmark_make_one_report() -> None:
    parts = [
        Report(
            "weights", {"source": name}, 1, {name: 1}, [Figure(name, "s", [1.0], "repeats")], [f"{name} was left out"]
        )
        for name in ("a", "b")
    ]
    whole = parts[0].joined(parts[1]).to_json()
    assert (whole["data"], whole["sizes"]) == ({"source": "a"}, {"a": 1, "b": 1})
    assert [figure["name"] for figure in whole["figures"]] == ["a", "b"]  # type: ignore[attr-defined]
    assert whole["notes"] == ["a was left out", "b was left out"]
