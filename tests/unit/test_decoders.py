"""Every decoder of bytes that come from elsewhere: damage gives a named error, never a crash, a hang or nonsense."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hand_made import Made, make_trajectory
from hypothesis import given
from hypothesis import strategies as st

from hiper._proto.common.v1.types_pb2 import LevelValues
from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.advantages.case_schema import read_cases
from hiper.advantages.shaping import ShapingConfig
from hiper.config.sections import HaeSettings
from hiper.errors import DataError, HiperError, IntegrityError
from hiper.plan_execute import parse_response
from hiper.streams import Delivery
from hiper.streams.entry import checksum
from hiper.weights import write_version
from hiper.weights.manifest import verify
from services.hae.estimators import make_estimator
from services.hae.rows import fill, turn_batch, value_queries
from services.hae.values import CriticReading
from services.learner.rows import rows_of
from services.reward.terms import score
from services.reward.validate import contradiction

VOCABULARY = 200_000
WHOLE = make_trajectory([Made(switch=True), Made(), Made(switch=True)], truncated=True).SerializeToString()


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes overwritten, cut out, inserted or cut off."""
    text = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(text) - 1)))
        text[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=12))
    return bytes(text)


@given(payload=st.binary(max_size=300) | damaged(WHOLE), fields=st.dictionaries(st.text(max_size=5), st.binary()))
def test_an_entry_is_a_message_or_an_integrity_error(payload: bytes, fields: dict[str, bytes]) -> None:
    delivery = Delivery("1-0", payload, 1, {**fields, "p": payload, "sha": checksum(payload).encode()})
    delivery.check()
    for decode in (delivery.trajectory, delivery.task, delivery.batch_ready):
        with suppress(IntegrityError):
            decode()


@given(damaged(WHOLE))
def test_what_passes_validation_can_be_computed_with_by_every_later_stage(payload: bytes) -> None:
    try:
        trajectory = Trajectory.FromString(payload)
    except DecodeError:
        return
    if contradiction(trajectory) or not trajectory.turns:
        return
    try:
        score(trajectory, ShapingConfig())
        queries = value_queries([trajectory])
        values = [LevelValues(low=0.1, high=0.2, switch=0.3) for _ in queries]
        reading = CriticReading(values, 0)
        batch = turn_batch([trajectory], reading)
        fill([trajectory], reading, batch, make_estimator(HaeSettings())(batch))
        rows = rows_of([trajectory], VOCABULARY)
    except (IntegrityError, DataError):
        return  # ids outside the vocabulary, rewards that overflow: refused by name
    assert len(rows) == len(trajectory.turns)
    assert all(np.isfinite(row.advantages).all() for row in rows)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def write(directory: Path) -> None:
        (directory / "model.safetensors").write_bytes(bytes(range(200)))
        (directory / "config.json").write_text("{}")

    root = tmp_path_factory.mktemp("weights")
    return write_version(root, 3, write, {"run": "x"}).directory


@given(data=st.data())
def test_a_damaged_version_of_the_weights_is_refused(weights: Path, data: st.DataObject) -> None:
    victim = data.draw(st.sampled_from(["manifest.json", "model.safetensors", "config.json"]))
    copy = weights.parent / "copy" / weights.name
    shutil.rmtree(copy.parent, ignore_errors=True)
    shutil.copytree(weights, copy)
    whole = (copy / victim).read_bytes()
    spoiled = data.draw(damaged(whole))
    (copy / victim).write_bytes(spoiled)
    manifest = verify(weights)
    try:
        verify(copy, manifest.sha256)
    except IntegrityError:
        return
    assert spoiled == whole


CASES = {
    "cases": [
        {
            "name": "a",
            "cfg": {"gamma": 1.0},
            "rows": [{"traj": 0, "turn": 0, "switch": 1, "reward": 0.0, "v_low": 0.0, "resp_len": 4}],
        }
    ]
}


@given(st.binary(max_size=80) | damaged(json.dumps(CASES).encode()))
def test_a_file_of_cases_is_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "cases.json"
    path.write_bytes(text)
    with suppress(HiperError):
        read_cases(path)


@given(
    st.lists(st.sampled_from(["<switch>", "</switch>", "<subgoal>", "</action>", "<action>", "KEEP", "é", "", "\0"]))
)
def test_any_response_has_a_reading(pieces: list[str]) -> None:
    read = parse_response(pieces)
    spans = (read.switch_span, read.subgoal_span, read.action_span)
    assert all(span is None or 0 <= span.start <= span.end <= len(pieces) for span in spans)
