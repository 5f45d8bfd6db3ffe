"""A whole run of `hiper up`, every process of it exporting to one collector."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from otlp_collector import Collector, SeenSpan, collecting, detached
from started_runs import run_up

from hiper import tracing

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

BOUND_S = 300
SERVICES = {"env_server", "rollout", "reward", "hae", "learner"}
ITERATIONS, TASKS, PANEL = 2, 12, 8


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Runs with a collector at the URL to the end and returns the report."""

    def run_to_its_end(endpoint: str) -> dict[str, Any]:
        monkeypatch.setenv("OTEL_SDK_DISABLED", "false")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        with run_up(tmp_path / "run", f"learner.iterations={ITERATIONS}", "tracing.ratio=1.0") as up:
            assert up.wait(BOUND_S) == 0, (tmp_path / "up.log").read_text()[-3000:]
        report: dict[str, Any] = json.loads((tmp_path / "run" / "report.json").read_text())
        return report

    return run_to_its_end


def expected_trajectories() -> list[str]:
    train = [f"chaos/train-{batch:06d}/{group}/0" for batch in range(ITERATIONS) for group in range(TASKS)]
    panel = [f"chaos/eval-{version:06d}/{group}/0" for version in (0, ITERATIONS) for group in range(PANEL)]
    return train + panel


def faults_of(trace: list[SeenSpan], name: str) -> list[str]:
    """What is wrong with the trace of an applied trajectory."""
    found = [f"no span of {service}" for service in sorted(SERVICES - {span.service for span in trace})]
    found += [f"{span.service} {span.name} hangs in the air" for span in detached(trace, tracing.root_span_id(name))]
    once = ("task", "episode", "publish traj.raw", "reward", "hae")
    found += [f"not one {step}" for step in once if [span.name for span in trace].count(step) != 1]
    turns, steps = (sum(span.name == step for span in trace) for step in ("chat", "env.step"))
    calls = sum(span.name.endswith("/BatchStep") for span in trace)
    return found if turns == steps == calls > 0 else [*found, f"{turns} turns, {steps} steps, {calls} calls"]


def batches_of(collector: Collector, name: str) -> list[set[str]]:
    return [set(span.linked) for span in collector.spans if span.name == name]


def test_every_applied_trajectory_is_one_connected_trace_of_five_services(
    play: Callable[[str], dict[str, Any]],
) -> None:
    with collecting() as (collector, url):
        report = play(url)
    names, traces = expected_trajectories(), collector.traces()
    assert report["trajectories"]["applied"] == len(names)
    assert {name: faults for name in names if (faults := faults_of(traces.get(tracing.trace_id(name), []), name))} == {}
    expected = [
        {tracing.trace_id(name) for name in names if f"/train-{batch:06d}/" in name} for batch in range(ITERATIONS)
    ]
    assert sorted(map(sorted, batches_of(collector, "learner.step batch"))) == sorted(map(sorted, expected))


def test_a_run_whose_collector_is_gone_loses_nothing_but_its_traces(
    play: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    report = play("http://127.0.0.1:1")
    assert report["trajectories"]["applied"] == len(expected_trajectories())
    assert report["conservation_gap"] == 0
    assert not any(report["restarts"].values())
    said = [json.loads(line) for line in (tmp_path / "run" / "logs" / "rollout-0.log").read_text().splitlines()]
    assert [line["event"] for line in said].count("traces are lost until the collector is back") == 1
