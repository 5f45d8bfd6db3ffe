"""The control API before a real broker: what it says, what it wishes, whom it lets in, how it fails."""

import json
from pathlib import Path

import httpx
import pytest
from control_world import TOKEN, World, new_world

from hiper.config import RunConfig
from hiper.errors import ConfigError
from hiper.streams import DeadLetters, LearnerLease, RunPhase
from services.control.access import Access
from services.control.openapi import openapi_text

ROOT = Path(__file__).resolve().parents[3]


def write_status(world: World, **states: str) -> None:
    processes = [
        {"name": name, "service": name.rpartition("-")[0], "state": state, "detail": "", "restarts": 2}
        for name, state in states.items()
    ]
    (world.run_dir / "status.json").write_text(json.dumps({"processes": processes}))


async def test_a_run_is_described_from_broker_and_files(world: World) -> None:
    lease = LearnerLease(world.broker, 5.0)
    await lease.acquire()
    await world.board.publish(3, "file:///w", "0" * 64, lease.generation)
    (world.run_dir / "metrics.jsonl").write_text('{"version": 2}\n{"version": 3, "success": 0.5}\n')
    (world.run_dir / "evals.jsonl").write_text('{"version": 0, "success": 0.1}\n')
    run = (await world.client.get("/api/v1/run")).json()
    assert (run["run"], run["phase"], run["iterations"]) == ("steered", "starting", RunConfig().learner.iterations)
    assert (run["policy_version"], run["generation"]) == (3, 1)
    assert run["last_iteration"] == {"version": 3, "success": 0.5}
    assert run["last_evaluation"]["success"] == 0.1
    assert (await world.client.get("/api/v1/run/iterations?limit=1")).json()["items"] == [run["last_iteration"]]
    assert len((await world.client.get("/api/v1/run/evaluations")).json()["items"]) == 1


async def test_wishes_reach_the_record_the_learner_reads(world: World) -> None:
    paused = await world.client.post("/api/v1/run/pause")
    assert (paused.status_code, paused.json()["pause_requested"]) == (202, True)
    assert (await world.control.read()).paused
    assert (await world.client.post("/api/v1/run/resume")).json()["pause_requested"] is False
    assert (await world.client.post("/api/v1/run/evaluations")).json()["evaluation_requested"] is True
    stopped = (await world.client.post("/api/v1/run/stop")).json()
    assert (stopped["stop_requested"], stopped["phase"]) == (True, "starting"), "a wish is not yet so"
    await world.control.say(RunPhase.STOPPED, 7)
    await world.control.stop_taken(await world.control.read())
    run = (await world.client.get("/api/v1/run")).json()
    assert (run["stop_requested"], run["phase"]) == (False, "stopped")


async def test_the_pipeline_is_measured_and_conserved(world: World) -> None:
    await world.dead_letters(2)
    pipeline = (await world.client.get("/api/v1/run/pipeline")).json()
    assert [stage["stream"] for stage in pipeline["streams"]] == ["tasks", "traj.raw", "traj.scored", "traj.adv"]
    assert (pipeline["published"], pipeline["dead_lettered"], pipeline["conservation_gap"]) == (2, 2, 0)


async def test_dead_letters_are_listed_by_page_shown_replayed_and_purged(world: World) -> None:
    await world.dead_letters(3)
    first = (await world.client.get("/api/v1/dead-letters?limit=2")).json()
    assert len(first["items"]) == 2
    rest = (await world.client.get("/api/v1/dead-letters", params={"after": first["next"]})).json()
    assert (len(rest["items"]), rest["next"]) == (1, None)
    one, other, last = [letter["id"] for letter in (*first["items"], *rest["items"])]
    shown = (await world.client.get(f"/api/v1/dead-letters/{one}")).json()
    assert shown["error"] == "its rewards are not finite"
    assert shown["trajectory_id"] == "steered/train-000000/0/0"
    assert "p" not in shown["fields"]
    assert (await world.client.post(f"/api/v1/dead-letters/{one}/replay")).json() == {"id": one, "outcome": "replayed"}
    assert (await world.client.delete(f"/api/v1/dead-letters/{other}")).json() == {"id": other, "outcome": "purged"}
    assert (await world.client.post(f"/api/v1/dead-letters/{one}/replay")).status_code == 404
    assert [letter.entry_id for letter in await DeadLetters(world.broker).list()] == [last]
    pipeline = (await world.client.get("/api/v1/run/pipeline")).json()
    assert (pipeline["conservation_gap"], pipeline["dropped"], pipeline["in_flight"]) == (0, {"purged": 1}, 1)


async def test_services_are_seen_and_scaled_where_a_supervisor_runs_them(world: World) -> None:
    assert (await world.client.get("/api/v1/services")).json() == []
    missing = await world.client.put("/api/v1/services/rollout/replicas", json={"replicas": 3})
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    write_status(world, **{"rollout-0": "ready", "rollout-1": "starting", "learner-0": "ready"})
    services = {one["service"]: one for one in (await world.client.get("/api/v1/services")).json()}
    assert (services["rollout"]["wanted"], services["rollout"]["ready"]) == (2, 1)
    assert services["rollout"]["processes"][0] == {"name": "rollout-0", "state": "ready", "detail": "", "restarts": 2}
    scaled = await world.client.put("/api/v1/services/rollout/replicas", json={"replicas": 3})
    assert (scaled.status_code, scaled.json()["wanted"]) == (202, 3)
    assert (await world.control.read()).scale["rollout"].processes == 3
    fixed = await world.client.put("/api/v1/services/learner/replicas", json={"replicas": 2})
    assert (fixed.status_code, fixed.json()["code"]) == (409, "not_scalable")
    none = await world.client.put("/api/v1/services/rollout/replicas", json={"replicas": 0})
    assert (none.status_code, none.json()["hint"]) == (409, "pause the run instead")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/api/v1/nothing", None, 404, "not_found"),
        ("PATCH", "/api/v1/run", None, 405, "method_not_allowed"),
        ("GET", "/api/v1/dead-letters/abc", None, 422, "invalid"),
        ("GET", "/api/v1/dead-letters/1-1", None, 404, "not_found"),
        ("DELETE", "/api/v1/dead-letters/1-1", None, 404, "not_found"),
        ("GET", "/api/v1/dead-letters?limit=0", None, 422, "invalid"),
        ("PUT", "/api/v1/services/rollout/replicas", {"replicas": "many"}, 422, "invalid"),
        ("PUT", "/api/v1/services/rollout/replicas", {"replica": 1}, 422, "invalid"),
    ],
)
async def test_every_error_is_a_problem(
    world: World, method: str, path: str, body: dict | None, status: int, code: str
) -> None:
    answer = await world.client.request(method, path, json=body)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (problem["status"], problem["code"], problem["instance"]) == (status, code, path.partition("?")[0])
    assert problem["detail"]


async def test_a_body_that_is_no_text_is_a_problem(world: World) -> None:
    json_type = {"Content-Type": "application/json"}
    answer = await world.client.put("/api/v1/services/rollout/replicas", content=b"?\xff!", headers=json_type)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert "UTF-8" in answer.json()["detail"]


async def test_a_broker_that_is_away_is_named_and_the_service_lives_on(world: World) -> None:
    write_status(world, **{"rollout-0": "ready"})
    assert (await world.client.get("/api/v1/run")).status_code == 200
    await world.running.stop()
    answer = await world.client.get("/api/v1/run")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "redis://" in answer.json()["detail"]
    assert (await world.client.get("/healthz")).status_code == 200
    assert (await world.client.get("/api/v1/services")).status_code == 200


async def test_only_holders_of_the_token_are_let_in(world: World) -> None:
    async with httpx.AsyncClient(base_url=world.url) as stranger:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            answer = await stranger.post("/api/v1/run/stop", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert (await stranger.get("/version")).json()["component"] == "control"
    assert not (await world.control.read()).stop_asked


async def test_without_a_token_pages_of_other_sites_are_kept_out(tmp_path: Path) -> None:
    async with new_world(tmp_path, token=False) as world:
        assert (await world.client.post("/api/v1/run/pause")).status_code == 202
        rebound = await world.client.get("/api/v1/run", headers={"Host": "evil.example"})
        assert (rebound.status_code, rebound.json()["code"]) == (403, "host")
        foreign = await world.client.post("/api/v1/run/stop", headers={"Origin": "https://evil.example"})
        assert (foreign.status_code, foreign.json()["code"]) == (403, "origin")
        own = await world.client.post("/api/v1/run/resume", headers={"Origin": world.url})
        assert own.status_code == 202
        assert not (await world.control.read()).stop_asked


def test_a_public_address_needs_a_token() -> None:
    with pytest.raises(ConfigError, match=r"refusing to serve the control API on 0\.0\.0\.0:8090"):
        Access("0.0.0.0:8090")


def test_the_committed_document_is_what_the_code_says() -> None:
    assert (ROOT / "services" / "control" / "openapi.json").read_text() == openapi_text(), "run `make openapi`"
