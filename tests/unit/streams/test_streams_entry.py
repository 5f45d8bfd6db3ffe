"""Entries, keys and scripts, as far as they need no server."""

import re
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper._proto.trajectory.v1.trajectory_pb2 import Task, Trajectory
from hiper.errors import IntegrityError
from hiper.streams import GROUPS, SCHEMA_VERSION, Counts, Delivery, Keys
from hiper.streams.entry import MAX_ENTRY_BYTES, encode, pack
from hiper.streams.link import without_secrets
from hiper.streams.scripts import load
from hiper.vocabulary import Stream


def delivered(entry: list[str | bytes]) -> Delivery:
    """What a consumer makes of an entry."""
    words = [word if isinstance(word, bytes) else word.encode() for word in entry]
    fields = {name.decode(): value for name, value in zip(words[::2], words[1::2], strict=True)}
    return Delivery("1-1", fields.get("p", b""), 1, fields)


@given(text=st.text(max_size=50), seed=st.integers(0, 2**64 - 1))
def test_a_message_comes_back_as_it_was(text: str, seed: int) -> None:
    task = Task(schema_version=1, trajectory_id=text, seed=seed)
    delivery = delivered(encode(task, id=text, batch="b"))
    delivery.check()
    assert delivery.task() == task
    assert (delivery.trajectory_id, delivery.batch_id, delivery.schema_version) == (text, "b", SCHEMA_VERSION)


@given(payload=st.binary(min_size=1, max_size=100), position=st.integers(0, 99), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(payload: bytes, position: int, bit: int) -> None:
    entry = pack(payload)
    damaged = bytearray(payload)
    damaged[position % len(payload)] ^= 1 << bit
    entry[entry.index("p") + 1] = bytes(damaged)
    with pytest.raises(IntegrityError, match="checksum"):
        delivered(entry).check()


def test_an_entry_without_checksum_is_not_trusted() -> None:
    with pytest.raises(IntegrityError, match="no payload or no checksum"):
        Delivery("1-1", b"x", 1, {"p": b"x"}).check()


def test_bytes_that_are_no_message_are_named() -> None:
    with pytest.raises(IntegrityError, match="entry 1-1 is not a Trajectory"):
        delivered(pack(b"\xff\xff\xff")).trajectory()


def test_an_entry_has_a_size_limit() -> None:
    pack(b"x" * MAX_ENTRY_BYTES)
    with pytest.raises(IntegrityError, match=r"run/1 is 8,388,609 bytes"):
        pack(b"x" * (MAX_ENTRY_BYTES + 1), id="run/1")


def test_a_marker_has_no_members() -> None:
    delivery = delivered(pack(b"", batch="b", members="0", expected="4"))
    delivery.check()
    assert (delivery.members, delivery.expected, delivery.trajectory_id) == (0, 4, "")
    assert delivery.trajectory() == Trajectory()


def test_every_key_of_a_run_is_on_one_cluster_slot() -> None:
    keys = Keys("r1")
    named = [keys.due, keys.counts, keys.policy, keys.epoch, keys.lease, keys.generation]
    named += [keys.members("b"), keys.set_aside("b"), keys.closed("b"), keys.issued("b"), keys.dedup("t")]
    named += [keys.stream(stream) for stream in Stream]
    assert all(name.startswith("hiper:{r1}:") for name in named)
    assert len(set(named)) == len(named)


def test_every_stream_but_the_dead_letters_has_one_group() -> None:
    assert set(GROUPS) == set(Stream) - {Stream.DEAD_LETTERS}


def scripts() -> list[str]:
    parts = {"fence", "take", "batch"}
    files = resources.files("hiper.streams").joinpath("lua").iterdir()
    return sorted(name for file in files if (name := file.name.removesuffix(".lua")) not in parts)


@pytest.mark.parametrize("name", scripts())
def test_every_script_is_fenced_and_only_publish_minds_a_full_server(name: str) -> None:
    """`create_run` makes the epoch the others are fenced by."""
    source = load(name).source
    assert "--#include" not in source
    assert ("EPOCH" in source) == (name != "create_run")
    assert bool(re.match(r"#!lua flags=allow-oom", source)) == (name != "publish")


def test_counts_are_read_from_the_hash_and_unknown_fields_left_alone() -> None:
    counts = Counts.parse({"published": 9, "applied": 2, "dropped:late": 1, "dropped:stale": 3, "of_the_future": 5})
    assert counts == Counts(published=9, applied=2, dropped={"late": 1, "stale": 3})
    assert (counts.late, counts.terminal) == (1, 6)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pa@ss@host:1/0", "redis://host:1/0"),
        ("rediss://user:secret@host:1", "rediss://host:1"),
        ("unix:///run/s.sock?password=secret", "unix:///run/s.sock"),
    ],
)
def test_addresses_are_shown_without_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
