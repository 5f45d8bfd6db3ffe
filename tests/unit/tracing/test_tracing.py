"""Traces: their ids come from the trajectory, their parts hang together, and without a collector there are none."""

import asyncio
import json
import subprocess
import sys

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import StatusCode
from traced import HERE, recording, trace_of

from hiper import logs, tracing
from hiper.config.tracing import TracingSettings
from hiper.metrics import exposition, histogram
from hiper.vocabulary import Stream

NAME = "run/train-000000/0/0"
OTHER = "run/train-000000/0/1"


def header(trajectory_id: str, flags: str = "01") -> str:
    return f"00-{tracing.trace_id(trajectory_id)}-{'ab' * 8}-{flags}"


def test_the_ids_of_a_trajectory_never_change() -> None:
    """A newer version that plays a trajectory again must find its trace."""
    assert tracing.trace_id(NAME) == "86466eccd632e09dbfab2fe956b6b517"
    assert tracing.root_span_id(NAME) == "b4706795831d1c05"


@given(names=st.sets(st.text(max_size=40), min_size=2))
def test_every_trajectory_has_a_trace_of_its_own(names: set[str]) -> None:
    assert len({tracing.trace_id(name) for name in names}) == len(names)
    assert all(int(tracing.trace_id(name), 16) and int(tracing.root_span_id(name), 16) for name in names)


@given(name=st.text(), low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_larger_share_holds_every_smaller_one(name: str, low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert tracing.is_sampled(name, low) <= tracing.is_sampled(name, high)
    assert tracing.is_sampled(name, 1.0)
    assert not tracing.is_sampled(name, 0.0)


def test_the_share_is_what_was_asked_for() -> None:
    sampled = sum(tracing.is_sampled(f"run/train-{n:06d}/0/0", 0.1) for n in range(4000))
    assert 320 < sampled < 480, "four standard deviations"


def test_a_measurement_leads_to_the_trace_it_was_made_in() -> None:
    """In OpenMetrics, which Prometheus asks for; a scraper that knows the older format alone gets no exemplars."""
    with recording(), tracing.trajectory("reward", Stream.RAW, NAME, header(NAME)):
        histogram("reward_compute_duration_seconds").observe(0.5, tracing.exemplar())
    assert tracing.exemplar() is None
    leads_there = f'# {{trace_id="{tracing.trace_id(NAME)}"}} 0.5'
    body, media_type = exposition("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert media_type.startswith("application/openmetrics-text")
    assert leads_there in body.decode()
    assert "_created" not in body.decode()
    body, media_type = exposition("text/plain;version=0.0.4")
    assert media_type.startswith("text/plain")
    assert leads_there not in body.decode()


def test_one_trace_from_task_to_learner_and_a_second_life_joins_it() -> None:
    with recording() as seen:
        tracing.issued([NAME])
        given = tracing.traceparent(NAME)
        for _life in range(2):
            with tracing.trajectory("episode", Stream.TASKS, NAME, given), tracing.publish(Stream.RAW):
                published = tracing.traceparent(NAME)
        with tracing.trajectory("reward", Stream.RAW, NAME, published):
            pass
        with tracing.batch("hae", Stream.SCORED, "train-000000", {NAME: ""}):
            handed_on = tracing.traceparent(NAME)
        with tracing.batch("learner.step", Stream.ADVANTAGES, "train-000000", {NAME: handed_on}):
            pass
    root = seen.only("task")
    assert (trace_of(root), root.parent) == (tracing.trace_id(NAME), None)
    assert f"{root.context.span_id:016x}" == tracing.root_span_id(NAME)
    assert seen.way_home(seen.only("reward")) == ["reward", "publish traj.raw", "episode", "task"]
    assert seen.way_home(seen.only("learner.step")) == ["learner.step", "hae", "task"]
    assert [seen.way_home(one) for one in seen.spans("episode")] == [["episode", "task"]] * 2


def test_a_batch_and_its_members_name_each_other() -> None:
    with (
        recording() as seen,
        tracing.batch("hae", Stream.SCORED, "train-000000", {NAME: "", OTHER: ""}),
        tracing.span("inside"),
    ):
        assert tracing.traceparent(NAME).split("-")[1] == tracing.trace_id(NAME)
    whole, members = seen.only("hae batch"), seen.spans("hae")
    assert {trace_of(one) for one in members} == {tracing.trace_id(NAME), tracing.trace_id(OTHER)}
    assert {f"{link.context.trace_id:032x}" for link in whole.links} == {trace_of(one) for one in members}
    assert [link.context.span_id for one in members for link in one.links] == [whole.context.span_id] * 2
    assert seen.way_home(seen.only("inside")) == ["inside", "hae batch"]


def test_who_is_not_sampled_leaves_nothing() -> None:
    with recording(ratio=0.0) as seen:
        tracing.issued([NAME])
        with tracing.trajectory("episode", Stream.TASKS, NAME), tracing.span("chat"):
            tracing.note({"hiper.turn": 1})
            assert tracing.traceparent() == tracing.traceparent(NAME) == ""
            assert tracing.callers() == ()
        with tracing.batch("hae", Stream.SCORED, "train-000000", {NAME: ""}):
            assert tracing.traceparent(NAME) == ""
    assert seen.names() == []


def test_what_an_entry_carries_decides_whoever_chooses_how_many() -> None:
    with recording(ratio=0.0) as seen, tracing.trajectory("reward", Stream.RAW, NAME, header(NAME)):
        pass
    assert seen.only("reward").parent.span_id == 0xABABABABABABABAB


@given(carried=st.one_of(st.text(), st.just(header(OTHER)), st.just(header(NAME, "00")), st.just(header(NAME) + "-x")))
def test_what_cannot_be_its_parent_is_no_parent(carried: str) -> None:
    with recording() as seen, tracing.trajectory("reward", Stream.RAW, NAME, carried):
        pass
    span = seen.only("reward")
    assert trace_of(span) == tracing.trace_id(NAME)
    assert f"{span.parent.span_id:016x}" == tracing.root_span_id(NAME)


def test_a_failure_is_seen_in_the_span_and_by_the_caller() -> None:
    with recording() as seen:
        with pytest.raises(ValueError, match="refused"), tracing.trajectory("reward", Stream.RAW, NAME):
            raise ValueError("refused")
        with (
            pytest.raises(ValueError, match="refused"),
            tracing.batch("hae", Stream.SCORED, "train-000000", {NAME: ""}),
        ):
            raise ValueError("refused")
    for name in ("reward", "hae", "hae batch"):
        status = seen.only(name).status
        assert (status.status_code, status.description) == (StatusCode.ERROR, "ValueError: refused")


async def test_concurrent_episodes_keep_their_traces_apart() -> None:
    async def play(name: str) -> str:
        with tracing.trajectory("episode", Stream.TASKS, name):
            await asyncio.sleep(0)
            with tracing.span("chat"):
                await asyncio.sleep(0)
                return tracing.traceparent().split("-")[1]

    names = [f"run/train-000000/{n}/0" for n in range(20)]
    with recording():
        assert await asyncio.gather(*map(play, names)) == [tracing.trace_id(name) for name in names]


def test_log_lines_of_a_trajectory_say_where_its_trace_is(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("reward-0", json_lines=True, extra=(tracing.add_trace_id,))
    try:
        with recording():
            logs.get().info("named", trajectory_id=OTHER)
            with tracing.trajectory("reward", Stream.RAW, NAME):
                logs.get().info("within")
                logs.get().info("named within", trajectory_id=OTHER)
            logs.get().info("about nothing")
        logs.get().info("not traced", trajectory_id=NAME)
    finally:
        structlog.reset_defaults()
    lines = {line["event"]: line.get("trace_id") for line in map(json.loads, capsys.readouterr().err.splitlines())}
    own, other = tracing.trace_id(NAME), tracing.trace_id(OTHER)
    assert lines == {
        "named": other,
        "within": own,
        "named within": other,
        "about nothing": None,
        "not traced": None,
    }


_UNCONFIGURED = """
import sys
from hiper import tracing
from hiper.config.tracing import TracingSettings
from hiper.vocabulary import Stream
import hiper.rpc, hiper.service, hiper.streams, services.reward.worker, services.hae.worker
if sys.argv[1] == "missing":
    sys.modules["opentelemetry"] = None
settings = TracingSettings(endpoint="http://127.0.0.1:1" if sys.argv[1] != "off" else None)
tracing.configure(tracing.Process("reward", "reward-0", "run"), settings)
with (
    tracing.trajectory("reward", Stream.RAW, "a"),
    tracing.span("b"),
    tracing.batch("c", Stream.SCORED, "d", {"a": ""}),
    tracing.served("e", []),
):
    tracing.note({"f": 1})
    tracing.issued(["a"])
    with tracing.on_behalf(["00-" + "1" * 32 + "-" + "1" * 16 + "-01"]):
        said = [tracing.active(), tracing.traceparent("a"), list(tracing.callers())]
tracing.shutdown()
print(said, sorted(sys.modules.keys() & {"hiper.tracing_otel", "opentelemetry.sdk.trace", "opentelemetry.exporter"}))
"""


@pytest.mark.parametrize("case", ["off", "missing", "disabled"])
def test_without_endpoint_or_packages_nothing_happens_and_nothing_is_loaded(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true" if case == "disabled" else "")
    command = [sys.executable, "-c", _UNCONFIGURED, case]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    last = done.stdout.splitlines()[-1]
    assert last == "[False, '', []] []"
    assert ("hiper-rl[tracing]" in done.stdout + done.stderr) == (case == "missing")


def test_the_standard_variable_switches_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    assert not tracing.active()
    tracing.configure(HERE, TracingSettings())
    try:
        assert tracing.active()
    finally:
        tracing.shutdown()
    assert not tracing.active()


def test_what_cannot_be_used_is_said_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    logs.configure("reward-0", json_lines=True)
    try:
        tracing.configure(HERE, TracingSettings(endpoint="http://127.0.0.1:1"))
    finally:
        structlog.reset_defaults()
    assert not tracing.active()
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["event"]) == ("warning", "nothing is traced")
    assert "http/json" in line["error"]
