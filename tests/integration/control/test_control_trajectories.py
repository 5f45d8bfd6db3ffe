"""Trajectories in flight over HTTP: by page, turn by turn, whatever they hold."""

import math

from control_world import RUN, World

from hiper._proto.common.v1.types_pb2 import LevelValues
from hiper._proto.trajectory.v1.trajectory_pb2 import Outcome, Task, Trajectory, Turn
from hiper.vocabulary import Stream


def played(index: int, **turn: object) -> Trajectory:
    task = Task(trajectory_id=f"{RUN}/train-000000/{index}/0", batch_id="train-000000", group=index, env="alfworld")
    turns = [
        Turn(index=0, observation="a shelf", subgoal="find a mug", is_switch=True, action="look", valid=True, **turn),
        Turn(index=1, observation="a mug", subgoal="find a mug", action="take mug", valid=True, env_reward=1.0),
    ]
    outcome = Outcome(won=True, terminated=True)
    return Trajectory(schema_version=1, task=task, task_type="pick", outcome=outcome, turns=turns)


async def test_trajectories_are_listed_by_page(world: World) -> None:
    for index in range(3):
        await world.publish(played(index))
    first = (await world.client.get("/api/v1/trajectories/traj.raw?limit=2")).json()
    rest = (await world.client.get("/api/v1/trajectories/traj.raw", params={"after": first["next"]})).json()
    listed = [*first["items"], *rest["items"]]
    assert [one["trajectory_id"] for one in listed] == [f"{RUN}/train-000000/{index}/0" for index in range(3)]
    assert rest["next"] is None
    assert (listed[0]["won"], listed[0]["turns"], listed[0]["env_return"]) == (True, 2, 1.0)
    assert (await world.client.get("/api/v1/trajectories/traj.adv")).json() == {"items": [], "next": None}


async def test_one_is_shown_turn_by_turn(world: World) -> None:
    credit = LevelValues(low=0.5, switch=-0.25)
    await world.publish(played(0, reward=0.1, reward_terms={"success": 0.1}, advantages=credit))
    listed = (await world.client.get("/api/v1/trajectories/traj.raw")).json()["items"]
    shown = (await world.client.get(f"/api/v1/trajectories/traj.raw/{listed[0]['id']}")).json()
    first, second = shown["steps"]
    assert (first["subgoal"], first["switch"], first["action"]) == ("find a mug", True, "look")
    assert (first["reward"], first["reward_terms"], first["advantages"]) == (
        0.1,
        {"success": 0.1},
        {"low": 0.5, "switch": -0.25},
    )
    assert (second["reward"], second["advantages"], second["env_reward"]) == (None, {}, 1.0)


async def test_numbers_json_cannot_say_are_null(world: World) -> None:
    await world.publish(played(0, env_reward=math.nan, reward=math.inf))
    (world.run_dir / "metrics.jsonl").write_text('{"version": 1, "kl": NaN, "nested": [Infinity, 2]}\n')
    listed = (await world.client.get("/api/v1/trajectories/traj.raw")).json()["items"]
    assert listed[0]["env_return"] is None
    step = (await world.client.get(f"/api/v1/trajectories/traj.raw/{listed[0]['id']}")).json()["steps"][0]
    assert (step["env_reward"], step["reward"]) == (None, None)
    run = (await world.client.get("/api/v1/run")).json()
    assert run["last_iteration"] == {"version": 1, "kl": None, "nested": [None, 2]}


async def test_what_is_not_there_or_cannot_be_read_is_said(world: World) -> None:
    missing = await world.client.get("/api/v1/trajectories/traj.raw/1-1")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert (await world.client.get("/api/v1/trajectories/tasks")).status_code == 422
    key = world.broker.keys.stream(Stream.RAW)
    entry = (await world.broker.command("XADD", key, "*", "p", b"\xff", "sha", "0", "v", "1", "id", "broken")).decode()
    listed = (await world.client.get("/api/v1/trajectories/traj.raw")).json()["items"]
    assert listed[0]["trajectory_id"] == "broken"
    assert listed[0]["fault"]
    assert (await world.client.get(f"/api/v1/trajectories/traj.raw/{entry}")).json()["steps"] == []
