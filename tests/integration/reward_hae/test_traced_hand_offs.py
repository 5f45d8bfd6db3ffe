"""Traces through the real broker: every trajectory's parents lead home, and no collector holds the pipeline up."""

import socket
from collections.abc import Iterator

import pytest
from known_batches import SIZE, make_batch
from pipeline_world import Critic, World
from traced import HERE, SpanCounts, recording, trace_of

from hiper import tracing
from hiper.config.tracing import TracingSettings


@pytest.fixture
def mute_collector() -> Iterator[str]:
    """URL of a collector that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def hand_on(world: World) -> list[str]:
    """Two batches from tasks to advantages; the traceparents of their entries."""
    async with Critic().serving() as address:
        world.run((await world.reward())[0])
        world.run((await world.hae(address))[0])
        await world.publish([*make_batch("train-000000"), *make_batch("train-000001")])
        entries = await world.handed_on(2 * SIZE)
    assert (await world.state()).counts.published == 2 * SIZE
    return [entry.traceparent for entry in entries]


async def test_every_hand_off_says_what_comes_next_belongs_to(world: World) -> None:
    with recording() as seen:
        carried = await hand_on(world)
    names = [one.task.trajectory_id for batch in ("train-000000", "train-000001") for one in make_batch(batch)]
    for name in ("task", "reward", "hae"):
        assert sorted(map(trace_of, seen.spans(name))) == sorted(map(tracing.trace_id, names))
    assert {tuple(seen.way_home(span)) for span in seen.spans("reward")} == {("reward", "task")}
    assert {tuple(seen.way_home(span)) for span in seen.spans("hae")} == {("hae", "task")}
    members = {f"00-{trace_of(span)}-{span.context.span_id:016x}-01" for span in seen.spans("hae")}
    assert set(carried) == members, "the learner's spans come below those of the HAE service"
    asked = seen.spans("hiper.critic.v1.CriticService/ComputeValues")
    assert [seen.way_home(span)[-1] for span in asked] == ["hae batch"] * 2


async def test_a_share_of_the_trajectories_is_traced_and_the_same_one_everywhere(world: World) -> None:
    with recording(ratio=0.5) as seen:
        carried = await hand_on(world)
    names = [one.task.trajectory_id for batch in ("train-000000", "train-000001") for one in make_batch(batch)]
    chosen = {tracing.trace_id(name) for name in names if tracing.is_sampled(name, 0.5)}
    assert 0 < len(chosen) < len(names)
    for name in ("task", "reward", "hae"):
        assert set(map(trace_of, seen.spans(name))) == chosen
    assert {header.split("-")[1] for header in carried if header} == chosen
    assert carried.count("") == len(names) - len(chosen)


@pytest.mark.parametrize("mute", [True, False], ids=["mute", "absent"])
async def test_a_dead_collector_costs_spans_only(
    mute: bool, world: World, mute_collector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    moved = SpanCounts()
    endpoint = mute_collector if mute else "http://127.0.0.1:1"
    tracing.configure(HERE, TracingSettings(endpoint=endpoint, ratio=1.0, timeout_s=0.5, queue_spans=8))
    try:
        assert len(await hand_on(world)) == 2 * SIZE
    finally:
        tracing.shutdown()
    assert moved["exported"] == 0
    assert moved["dropped"] + moved["failed"] > 0, "and says so"
