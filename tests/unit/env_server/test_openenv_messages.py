"""Whatever a client says, a connection answers or ends, and holds one session at most."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hiper.config.sections import EnvSettings
from hiper.envs.configured import open_configured_source
from services.env_server.host import SessionHost
from services.env_server.openenv import Connection, OpenEnvFront

SETTINGS = EnvSettings(synthetic_train=4, synthetic_valid=2, max_sessions=2)
SOURCE = open_configured_source(SETTINGS)
CODES = {"INVALID_JSON", "UNKNOWN_TYPE", "VALIDATION_ERROR", "EXECUTION_ERROR", "CAPACITY_REACHED"}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
tasks = st.sampled_from([*SOURCE.ids("train"), "no/such/task"])
resets = st.fixed_dictionaries(
    {},
    optional={
        "task_id": tasks | scalars,
        "split": st.sampled_from(["train", "valid", "none"]) | scalars,
        "seed": st.integers(-1, 9) | scalars,
        "max_steps": st.integers(-1, 3) | scalars,
        "episode_id": st.just("mine") | scalars,
        "column": scalars,
    },
)
steps = st.fixed_dictionaries({"action": st.sampled_from(["look", "inventory", "sing", "x" * 5000]) | scalars})
messages = st.one_of(
    st.fixed_dictionaries({"type": st.just("reset")}, optional={"data": resets | scalars}),
    st.fixed_dictionaries({"type": st.just("step")}, optional={"data": steps | scalars}),
    st.fixed_dictionaries({"type": st.sampled_from(["state", "close", "mcp"]) | scalars}, optional={"data": scalars}),
).map(json.dumps)


def check(reply: dict[str, Any], host: SessionHost) -> None:
    assert set(reply) == {"type", "data"}
    json.dumps(reply, allow_nan=False)
    if reply["type"] == "error":
        assert reply["data"]["code"] in CODES
        assert reply["data"]["message"]
    elif reply["type"] == "observation":
        assert set(reply["data"]) == {"observation", "reward", "done"}
        assert len(host.table) == 1
    else:
        assert set(reply["data"]) == {"episode_id", "step_count", "task_id"}


@given(st.lists(messages | st.text(max_size=20), max_size=25))
def test_every_message_has_one_answer_and_nothing_leaks(said: list[str]) -> None:
    front = OpenEnvFront(SessionHost(SOURCE, SETTINGS, lambda: 0.0), SETTINGS)
    connection = front.connect()
    assert isinstance(connection, Connection)
    for message in said:
        reply = connection.answer(message)
        if reply is None:
            assert json.loads(message)["type"] == "close"
            break
        check(reply, front.host)
        assert len(front.host.table) <= 1
    connection.end()
    assert (len(front.host.table), len(front.connections)) == (0, 0)
